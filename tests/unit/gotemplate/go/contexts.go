package main

import "strings"

// The same facts stand in go_contexts.py.

type Rover struct{}

func (Rover) InstanceID() string { return "b1b0d0c8" }
func (Rover) HostName() string   { return "node-1.example.com" }

func (Rover) HostIPV4(name string) (string, error) { return address(name, "eth0", "10.0.0.7") }
func (Rover) HostIPV6(name string) (string, error) { return address(name, "eth0", "fd00::7") }

func address(name, known, found string) (string, error) {
	if name != known {
		return "", errNothing
	}
	return found, nil
}

type Process struct{}

func (Process) ExeFilePath() string                   { return "/usr/local/bin/gunicorn" }
func (Process) ExeName() string                       { return "gunicorn" }
func (Process) ExeNameInCommandLine() (string, error) { return "/usr/bin/python3", nil }
func (Process) CommandLine() string                   { return "/usr/bin/python3 gunicorn --name=\"é <b>\"" }
func (Process) Pid() int32                            { return 4321 }
func (Process) WorkDir() (string, error)              { return "", errNothing }
func (Process) SystemdUnit() string                   { return "" }
func (Process) User() string                          { return "www-data" }

type Finder struct{}

func (Finder) Layer() string { return "OS_LINUX" }
func (Finder) RegexMatchGroup(number int) (string, error) {
	groups := []string{"gunicorn web", "gunicorn", "web"}
	if number < 0 || number >= len(groups) {
		return "", errNothing
	}
	return groups[number], nil
}

type Container struct{ name string }

func (c *Container) Name() string { return c.name }
func (c *Container) ID() string   { return "containerd://" + c.name }
func (c *Container) EnvValue(names string) (string, error) {
	known := map[string]string{"REGION": "eu", "ENABLED": "true", "REPLICAS": "1"}
	for _, name := range strings.Split(names, ",") {
		if value, ok := known[name]; ok {
			return value, nil
		}
	}
	return "", errNothing
}

type Pod struct{}

func (*Pod) Name() string        { return "productpage-v1-abc" }
func (*Pod) Namespace() string   { return "default" }
func (*Pod) Node() string        { return "node-1" }
func (*Pod) ServiceName() string { return "productpage" }
func (*Pod) LabelValue(names, otherwise string) (string, error) {
	known := map[string]string{"app": "productpage", "version": "v1"}
	for _, name := range strings.Split(names, ",") {
		if value := known[name]; value != "" {
			return value, nil
		}
	}
	return otherwise, nil
}
func (*Pod) FindContainer(name string) (*Container, error) {
	if name != "app" && name != "istio-proxy" {
		return nil, errNothing
	}
	return &Container{name}, nil
}
func (*Pod) OwnerName(kinds string) (string, error) {
	if !strings.Contains(kinds, "Deployment") {
		return "", errNothing
	}
	return "productpage-v1", nil
}

type PodInFilters struct{ *Pod }

func (PodInFilters) HasServiceName() bool          { return true }
func (PodInFilters) HasContainer(name string) bool { return name == "app" || name == "istio-proxy" }
func (p PodInFilters) HasOwnerName(names string) bool {
	_, err := p.OwnerName(names)
	return err == nil
}
func (PodInFilters) LabelSelector(selector string) (bool, error) {
	if strings.Contains(selector, "((") {
		return false, errNothing
	}
	return selector == "app=productpage", nil
}

type HostNames struct {
	Rover   *Rover
	Process *Process
	Finder  *Finder
}

type PodNames struct {
	Rover     *Rover
	Process   *Process
	Pod       *Pod
	Container *Container
}

type PodFilters struct {
	Rover     *Rover
	Process   *Process
	Pod       *PodInFilters
	Container *Container
}

// Any has what the contract's contexts do not have, so that the whole language is held to Go's.
type Any struct {
	S, E, U, H string
	I, Z, Neg  int
	N          int32
	F, FZ      float64
	B, BF      bool
	L, LE      []string
	LI         []int
	LA         []any
	M          map[string]string
	MI         map[string]int
	MA         map[string]any
	ME         map[string]string
	P, NP      *Inner
}

type Inner struct {
	Name string
	Next *Inner
	Tags []string
}

func (i *Inner) Upper() string { return strings.ToUpper(i.Name) }

func (*Any) Join(a, b string) string { return a + "+" + b }
func (*Any) Add(a, b int) int        { return a + b }
func (*Any) Flip(b bool) bool        { return !b }
func (*Any) Half(f float64) float64  { return f / 2 }
func (*Any) Fail() (string, error)   { return "", errNothing }
func (*Any) Find(name string) *Inner { return &Inner{Name: name} }
func (*Any) Echo(value any) any      { return value }

func contexts() map[string]any {
	inner := &Inner{Name: "outer", Next: &Inner{Name: "inner", Tags: []string{"x", "y"}}}
	pod := &Pod{}
	return map[string]any{
		"host":    &HostNames{&Rover{}, &Process{}, &Finder{}},
		"names":   &PodNames{&Rover{}, &Process{}, pod, &Container{"app"}},
		"filters": &PodFilters{&Rover{}, &Process{}, &PodInFilters{pod}, &Container{"app"}},
		"any": &Any{
			S: "text", U: "héllo 世界", H: "<a href=\"x\">'&'</a>\t\x00\x7f\\=",
			I: 42, Neg: -7, N: 32, F: 2.5, B: true,
			L: []string{"a", "b", "c"}, LE: []string{}, LI: []int{3, 1, 2},
			LA: []any{"s", 1, true, 2.5},
			M:  map[string]string{"k": "v", "a": "b"}, MI: map[string]int{"one": 1},
			MA: map[string]any{"s": "x", "n": 7, "l": []any{1, "two"}, "nil": nil},
			ME: map[string]string{}, P: inner,
		},
	}
}
