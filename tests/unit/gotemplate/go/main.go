// Evaluates templates with Go's own text/template and prints what came out, one JSON object a line.
//
// The Python evaluator is held against these lines (test_go_agreement.py). `go run .` writes them
// anew; they change only where the cases here or Go itself change.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// Case is a source and the context it is evaluated on: host, names, filters or any.
type Case struct {
	Context string `json:"context"`
	Source  string `json:"source"`
}

// Outcome is what Go made of a case. Exactly one of Output and Error is set.
type Outcome struct {
	Case
	Output *string `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// SkyWalking Rover adds this function to Go's own.
var functions = template.FuncMap{
	"equalsOrDefault": func(wanted, instead, value string) string {
		if value == wanted {
			return instead
		}
		return value
	},
}

func evaluate(c Case) Outcome {
	source := c.Source
	if c.Context == "filters" {
		source = "{{" + source + "}}"
	}
	parsed, err := template.New("t").Funcs(functions).Parse(source)
	if err != nil {
		return Outcome{Case: c, Error: err.Error()}
	}
	var text strings.Builder
	if err := parsed.Execute(&text, contexts()[c.Context]); err != nil {
		return Outcome{Case: c, Error: err.Error()}
	}
	output := text.String()
	if c.Context == "filters" {
		truth, err := strconv.ParseBool(output)
		if err != nil {
			return Outcome{Case: c, Error: err.Error()}
		}
		output = strconv.FormatBool(truth)
	}
	return Outcome{Case: c, Output: &output}
}

var addresses = regexp.MustCompile("0x[0-9a-f]{6,}")

var errNothing = errors.New("nothing found")

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	seen := map[Case]bool{}
	for _, c := range append(written(), generated()...) {
		if seen[c] {
			continue
		}
		seen[c] = true
		outcome := evaluate(c)
		outcome.Error = addresses.ReplaceAllString(outcome.Error, "0x")
		// Addresses change from run to run, and long texts tell no more than short ones.
		if text := outcome.Output; text != nil && (len(*text) > 2000 || addresses.MatchString(*text)) {
			continue
		}
		if err := encoder.Encode(outcome); err != nil {
			panic(err)
		}
	}
}
