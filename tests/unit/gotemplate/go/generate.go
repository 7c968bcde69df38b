package main

import (
	"math/rand"
	"strings"
)

// A grammar of templates: typed, so that most come out, with a share of what does not fit.
type grammar struct {
	*rand.Rand
	context string
	depth   int
	names   []string
}

type kind int

const (
	text kind = iota
	number
	boolean
	other
)

type leaves map[kind][]string

var contextLeaves = map[string]leaves{
	"host": {
		text: {".Rover.InstanceID", ".Rover.HostName", ".Process.ExeName", ".Process.CommandLine",
			".Process.SystemdUnit", ".Finder.Layer", "(.Finder.RegexMatchGroup 1)",
			"(.Rover.HostIPV4 \"eth0\")", "(.Rover.HostIPV6 `eth0`)"},
		number: {".Process.Pid", "(len .Process.ExeName)"},
		other: {"(.Rover.HostIPV4 \"lo\")", ".Process.WorkDir", ".Process.Nope",
			"(.Finder.RegexMatchGroup 9)"},
	},
	"names": {
		text: {".Pod.Name", ".Pod.Namespace", ".Pod.ServiceName", ".Container.Name", ".Pod.Node",
			"(.Pod.LabelValue \"app,x\" \"none\")", "(.Pod.LabelValue \"x\" \"\")",
			"(.Pod.OwnerName \"Deployment\")", "(.Pod.FindContainer \"app\").Name",
			"(.Container.EnvValue \"A,REGION\")"},
		number: {".Process.Pid", "(index .Pod.Name 3)"},
		other: {"(.Pod.OwnerName \"Job\")", "(.Pod.FindContainer \"no\").Name",
			"(.Pod.LabelValue \"x\" 1)", ".Pod.Name.x"},
	},
	"filters": {
		boolean: {".Pod.HasServiceName", "(.Pod.HasContainer \"app\")", "(.Pod.HasContainer \"no\")",
			"(.Pod.LabelSelector \"app=productpage\")", "(.Pod.HasOwnerName \"Job\")"},
		text:   {".Container.Name", ".Pod.Namespace", "(.Container.EnvValue \"ENABLED\")", ".Pod.Name"},
		number: {".Process.Pid", "(len .Pod.Name)"},
		other:  {"(.Pod.LabelSelector \"((\")", "(.Container.EnvValue \"NO\")"},
	},
	"any": {
		text: {".S", ".E", ".U", ".H", ".M.k", ".P.Name", ".P.Next.Name", ".P.Upper", ".MA.s",
			"(.Join \"a\" .S)", "(.Find \"x\").Upper", "(index .L 1)"},
		number:  {".I", ".Z", ".Neg", ".N", ".MA.n", "(.Add 1 .I)", "(index .LI 0)", "(index .U 2)"},
		boolean: {".B", ".BF", "(.Flip .B)", "(index .LA 2)"},
		other: {".F", ".FZ", ".L", ".LE", ".LI", ".LA", ".M", ".MI", ".MA", ".M.none", ".MA.l",
			".MA.none.x", ".P.Next.Tags", "(.Half 3)", "(.Echo .MA.nil)", "nil", "1.5", ".NP.Name",
			".Fail", ".S.x"},
	},
}

var constants = leaves{
	text: {"\"\"", "\"s\"", "\"a\\tb\\u00e9\\xff\"", "`raw`", "\"text\"", "\"productpage\"",
		"`\"<q>\"`"},
	number:  {"1", "0", "-3", "0x1F", "017", "1_000", "'x'", "'\\n'", "42", "4321"},
	boolean: {"true", "false"},
	other:   {"2.5", "1e3", "1e6", "-0.25", "nil"},
}

var verbs = leaves{
	text: {"%s", "%q", "%v", "%x", "%X", "%-6s|", "%.2s", "% x", "%#q", "%8.3s|", "%+q", "%#v", "%T"},
	number: {"%d", "%v", "%05d", "%x", "%c", "%U", "%+d", "%o", "%#x", "%08b", "%3c", "%q", "%-5d|",
		"%T"},
	boolean: {"%t", "%v", "%7t"},
	other: {"%v", "%6.2f", "%g", "%e", "%+v", "%#v", "%%", "%*d", "%[2]v", "%[1]d", "%!", "%z", "%",
		"%w"},
}

func (g *grammar) pick(from []string) string { return from[g.Intn(len(from))] }

// kind gives mostly what is asked for.
func (g *grammar) kind(wanted kind) kind {
	if g.Intn(25) == 0 {
		return kind(g.Intn(4))
	}
	return wanted
}

func (g *grammar) anyKind() kind { return []kind{text, text, number, boolean, other}[g.Intn(5)] }

func (g *grammar) operand(wanted kind) string {
	g.depth++
	defer func() { g.depth-- }()
	wanted = g.kind(wanted)
	known := contextLeaves[g.context][wanted]
	switch n := g.Intn(12); {
	case n < 5 && len(known) > 0:
		return g.pick(known)
	case n < 8 || g.depth > 4:
		return g.pick(constants[wanted])
	case n == 8 && len(g.names) > 0:
		return g.pick(g.names)
	case wanted == other:
		return g.pick(constants[other])
	default:
		return "(" + g.pipeline(wanted) + ")"
	}
}

func (g *grammar) operands(wanted kind, n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = g.operand(wanted)
	}
	return strings.Join(parts, " ")
}

func (g *grammar) printf() string {
	format, operands := "", ""
	for n := 1 + g.Intn(3); n > 0; n-- {
		of := g.anyKind()
		format += g.pick([]string{"", " ", "/", "é"}) + g.pick(verbs[g.kind(of)])
		operands += " " + g.operand(of)
	}
	return "printf " + g.pick([]string{"\"" + format + "\"", "`" + format + "`"}) + operands
}

func (g *grammar) command(wanted kind) string {
	if g.depth > 6 || g.Intn(3) == 0 {
		return g.operand(wanted)
	}
	comparable := []kind{text, number, boolean}
	switch wanted {
	case boolean:
		switch g.Intn(6) {
		case 0:
			return g.pick([]string{"eq", "ne"}) + " " + g.operands(comparable[g.Intn(3)], 2)
		case 1:
			return g.pick([]string{"lt", "le", "gt", "ge"}) + " " + g.operands(comparable[g.Intn(2)], 2)
		case 2:
			return "eq " + g.operands(comparable[g.Intn(2)], 2+g.Intn(3))
		case 3:
			return "not " + g.operand(g.anyKind())
		}
	case number:
		switch g.Intn(3) {
		case 0:
			return "len " + g.operand(text)
		case 1:
			return "index " + g.operand(text) + " " + g.pick([]string{"0", "1", "2", "30"})
		}
	case text:
		switch g.Intn(7) {
		case 0, 1:
			return g.printf()
		case 2:
			parts := make([]string, g.Intn(4))
			for i := range parts {
				parts[i] = g.operand(g.anyKind())
			}
			return g.pick([]string{"print", "println"}) + " " + strings.Join(parts, " ")
		case 3:
			return g.pick([]string{"html", "js", "urlquery"}) + " " + g.operand(text)
		case 4:
			return "slice " + g.operand(text) + g.pick([]string{"", " 0", " 1", " 0 1", " 1 3", " 2 1"})
		case 5:
			return "equalsOrDefault " + g.operands(text, 3)
		}
	}
	return g.pick([]string{"and", "or"}) + " " + g.operands(wanted, 1+g.Intn(3))
}

var stages = leaves{
	text: {"print", "printf \"%v.%v\" 1", "printf \"%q\"", "html", "js", "or \"\"", "println",
		"urlquery"},
	number:  {"len", "and 1", "or 0"},
	boolean: {"not", "eq \"s\"", "and true", "or false", "ne 1"},
}

func (g *grammar) pipeline(wanted kind) string {
	g.depth++
	defer func() { g.depth-- }()
	if wanted == other || g.Intn(5) > 0 {
		return g.command(wanted)
	}
	stage := g.pick(stages[wanted])
	before := text
	switch {
	case strings.ContainsAny(stage, "01"):
		before = number
	case strings.HasSuffix(stage, "e"):
		before = boolean
	}
	return g.pipeline(g.kind(before)) + " | " + stage
}

func (g *grammar) action(inside string) string {
	return g.pick([]string{"{{", "{{", "{{", "{{- "}) + inside + g.pick([]string{"}}", "}}", "}}", " -}}"})
}

func (g *grammar) block() string {
	g.depth++
	defer func() { g.depth-- }()
	known := len(g.names)
	text := ""
	for n := 1 + g.Intn(3); n > 0; n-- {
		text += g.pick([]string{"", " ", "a", "\n b \n", "}}", "é{"})
		switch kind := g.Intn(12); {
		case kind < 6 || g.depth > 3:
			text += g.action(g.pipeline(g.anyKind()))
		case kind == 6:
			name := g.pick([]string{"$x", "$y"})
			text += g.action(name + " := " + g.pipeline(g.anyKind()))
			g.names = append(g.names, name)
		case kind == 7 && len(g.names) > 0:
			text += g.action(g.pick(g.names) + " = " + g.pipeline(g.anyKind()))
		case kind == 8:
			text += g.action("with "+g.pipeline(g.anyKind())) + g.block() + g.action("else") + g.block() + g.action("end")
		case kind == 9:
			text += g.action("range "+g.pipeline(g.anyKind())) + "[" + g.action(".") + "]" + g.action("else") +
				"none" + g.action("end")
		default:
			text += g.action("if "+g.pipeline(boolean)) + g.block()
			if g.Intn(2) == 0 {
				text += g.action("else if "+g.pipeline(g.anyKind())) + g.block()
			}
			if g.Intn(2) == 0 {
				text += g.action("else") + g.block()
			}
			text += g.action("end")
		}
	}
	g.names = g.names[:known]
	return text
}

// spoil makes a source unsound somewhere.
func (g *grammar) spoil(source string) string {
	at := g.Intn(len(source) + 1)
	return source[:at] + g.pick([]string{"", "{{", "}}", "(", ")", "\"", ".", "$", "|", "-", " -", "end",
		"'", "/*", ":=", ",", "`"}) + source[min(len(source), at+g.Intn(3)):]
}

const perContext = 450

func generated() []Case {
	var result []Case
	for number, context := range []string{"host", "names", "filters", "any", "any"} {
		g := &grammar{Rand: rand.New(rand.NewSource(int64(number) + 1)), context: context}
		for i := 0; i < perContext; i++ {
			source := ""
			if context == "filters" {
				source = g.pipeline(g.kind(boolean))
			} else {
				source = g.block()
			}
			if g.Intn(8) == 0 {
				source = strings.ToValidUTF8(g.spoil(source), "")
			}
			if len(source) < 400 && !strings.Contains(source, "%p") {
				result = append(result, Case{context, source})
			}
		}
	}
	return result
}
