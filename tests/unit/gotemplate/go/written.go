package main

import (
	_ "embed"
	"strings"
)

// cases.txt: a line "== context" opens a context; a line that ends with \ goes on in the next one
// after a line feed; every other line is a source as it stands.
//
//go:embed cases.txt
var cases string

func written() []Case {
	var result []Case
	context, source := "", ""
	for _, line := range strings.Split(strings.TrimSuffix(cases, "\n"), "\n") {
		if name, found := strings.CutPrefix(line, "== "); found {
			context = name
			continue
		}
		if before, found := strings.CutSuffix(line, "\\"); found {
			source += before + "\n"
			continue
		}
		result = append(result, Case{context, source + line})
		source = ""
	}
	return result
}
