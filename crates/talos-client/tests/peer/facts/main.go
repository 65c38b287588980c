// Command facts prints what the simulator must know about resources, as Talos' machinery library registers them: how
// each type is shown and found by name, and which field of its specification has which number on the wire.
//
//	go run ./facts <../../src/sim/wire/types.txt >../../src/sim/wire/resources.json
package main

import (
	"bufio"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"gopkg.in/yaml.v3"

	"github.com/siderolabs/talos/pkg/machinery/proto"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/block"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/cluster"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/config"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/cri"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/etcd"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/files"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/hardware"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/k8s"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/kubeaccess"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/kubespan"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/network"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/perf"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/secrets"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/security"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/siderolink"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/time"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/v1alpha1"
)

// A field is its name in YAML, its number, its kind, and `list` or `map` unless there is one.
type field []any

type table struct {
	Types    map[string]entry            `json:"types"`
	Messages map[string][]field          `json:"messages"`
	Enums    map[string]map[string]int64 `json:"enums"`
}

type entry struct {
	// The definition, as the node shows it.
	Definition any `json:"definition"`
	// Name of the message that its specification is.
	Message string `json:"message,omitempty"`
}

func main() {
	out := table{map[string]entry{}, map[string][]field{}, map[string]map[string]int64{}}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			out.add(name)
		}
	}
	fmt.Println("{")
	show("types", out.Types, ",")
	show("messages", out.Messages, ",")
	show("enums", out.Enums, "")
	fmt.Println("}")
}

// One line an entry, so that changes can be read.
func show[T any](name string, entries map[string]T, end string) {
	fmt.Printf("%q: {\n", name)
	keys := slices.Sorted(maps.Keys(entries))
	for i, key := range keys {
		var text strings.Builder
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(entries[key]); err != nil {
			panic(err)
		}
		comma := ","
		if i+1 == len(keys) {
			comma = ""
		}
		fmt.Printf("%q: %s%s\n", key, strings.TrimSpace(text.String()), comma)
	}
	fmt.Printf("}%s\n", end)
}

func (t table) add(name string) {
	found, err := create(name)
	if err != nil {
		found, err = protobuf.CreateResource(name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	provider, ok := found.(meta.ResourceDefinitionProvider)
	if !ok {
		fmt.Fprintln(os.Stderr, "without definition:", name)
		return
	}
	definition, err := meta.NewResourceDefinition(provider.ResourceDefinition())
	if err != nil {
		panic(err)
	}
	text, err := yaml.Marshal(definition.TypedSpec())
	if err != nil {
		panic(err)
	}
	var shown any
	if err = yaml.Unmarshal(text, &shown); err != nil {
		panic(err)
	}
	e := entry{Definition: shown}
	if spec := reflect.TypeOf(found.Spec()); spec != nil {
		for spec.Kind() == reflect.Pointer {
			spec = spec.Elem()
		}
		if spec.Kind() == reflect.Struct {
			e.Message = t.message(spec)
		}
	}
	t.Types[name] = e
}

// An empty resource of a type.
func create(name string) (resource.Resource, error) {
	empty, err := protobuf.Unmarshal(&v1alpha1.Resource{
		Metadata: &v1alpha1.Metadata{Type: name, Version: "1", Phase: "running"},
		Spec:     &v1alpha1.Spec{},
	})
	if err != nil {
		return nil, err
	}
	found, err := protobuf.UnmarshalResource(empty)
	if _, same := found.(*protobuf.Resource); same {
		return nil, fmt.Errorf("%s is not registered", name)
	}
	return found, err
}

func (t table) message(of reflect.Type) string {
	name := strings.TrimPrefix(of.PkgPath(), "github.com/siderolabs/talos/pkg/machinery/") + "." + of.Name()
	name = strings.TrimPrefix(name, "resources/")
	if _, known := t.Messages[name]; known {
		return name
	}
	t.Messages[name] = nil
	t.Messages[name] = t.fields(of)
	if len(t.Messages[name]) == 0 {
		delete(t.Messages, name)
		return ""
	}
	return name
}

func (t table) fields(of reflect.Type) []field {
	var out []field
	for i := range of.NumField() {
		f := of.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("protobuf"), ",")
		number, err := strconv.Atoi(tag)
		inner := f.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && inner.Kind() == reflect.Struct && err != nil {
			out = append(out, t.fields(inner)...)
			continue
		}
		if err != nil {
			continue
		}
		shown, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if shown == "" {
			shown = strings.ToLower(f.Name)
		}
		kind, label := t.kind(inner)
		if kind == "" {
			continue
		}
		if label == "" {
			out = append(out, field{shown, number, kind})
		} else {
			out = append(out, field{shown, number, kind, label})
		}
	}
	return out
}

// Kinds of values that are no plain messages.
var special = map[string]string{
	"time.Duration": "duration", "time.Time": "time", "netip.Addr": "address", "netip.Prefix": "prefix",
	"netip.AddrPort": "endpoint", "url.URL": "url", "x509.PEMEncodedCertificateAndKey": "pair",
	"x509.PEMEncodedCertificate": "crt", "x509.PEMEncodedKey": "key",
}

func (t table) kind(of reflect.Type) (string, string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if kind, ok := special[of.String()]; ok {
		return kind, ""
	}
	if of.String() == "specs.Mount" {
		return t.message(reflect.TypeFor[proto.Mount]()), ""
	}
	switch of.Kind() {
	case reflect.Bool:
		return "bool", ""
	case reflect.String:
		return "string", ""
	case reflect.Float32:
		return "float", ""
	case reflect.Float64:
		return "double", ""
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if name := t.enum(of); name != "" {
			return name, ""
		}
		return "int", ""
	case reflect.Struct:
		return t.message(of), ""
	case reflect.Slice, reflect.Array:
		if of.Elem().Kind() == reflect.Uint8 {
			if reflect.PointerTo(of).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
				return "hardware", ""
			}
			return "bytes", ""
		}
		kind, label := t.kind(of.Elem())
		if label != "" {
			return "", ""
		}
		return kind, "list"
	case reflect.Map:
		if of == reflect.TypeFor[map[string]any]() {
			return "struct", ""
		}
		if of.Key().Kind() != reflect.String {
			return "", ""
		}
		kind, label := t.kind(of.Elem())
		if label != "" {
			return "", ""
		}
		return kind, "map"
	default:
		return "", ""
	}
}

// How a number is written as a text, when it is.
func (t table) enum(of reflect.Type) string {
	if !reflect.PointerTo(of).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return ""
	}
	name := of.String()
	if _, known := t.Enums[name]; known {
		return name
	}
	values := map[string]int64{}
	limit := int64(1) << min(of.Bits(), 17)
	for i := int64(0); i < limit; i++ {
		value := reflect.New(of)
		if value.Elem().CanInt() {
			value.Elem().SetInt(i)
		} else {
			value.Elem().SetUint(uint64(i))
		}
		marshaler, ok := value.Elem().Interface().(encoding.TextMarshaler)
		if !ok {
			return ""
		}
		text, err := marshaler.MarshalText()
		if err != nil {
			continue
		}
		back := reflect.New(of)
		if back.Interface().(encoding.TextUnmarshaler).UnmarshalText(text) != nil || !back.Elem().Equal(value.Elem()) {
			continue
		}
		// Numbers speak for themselves, and sets of flags are made of single ones.
		if _, err = strconv.ParseInt(string(text), 0, 64); err == nil || strings.ContainsAny(string(text), ",|") {
			continue
		}
		values[string(text)] = i
	}
	t.Enums[name] = values
	return name
}
