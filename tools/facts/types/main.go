// Command types prints what only Go's reflection knows about the built-in API types: the order of fields, JSON and protobuf
// tags, whether a field is a pointer, and patch strategies. generate.py joins it with the published OpenAPI document.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"

	"kubecore.dev/tools/facts/builtin"
)

// Field is one JSON field of a definition. Protobuf is the path of field numbers: longer than one where Go embeds a struct
// that JSON flattens but protobuf nests.
type Field struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	GoType        string `json:"goType,omitempty"`
	Embedded      string `json:"embedded,omitempty"`
	Pointer       bool   `json:"pointer,omitempty"`
	OmitEmpty     bool   `json:"omitempty,omitempty"`
	OmitZero      bool   `json:"omitzero,omitempty"`
	Protobuf      []int  `json:"protobuf,omitempty"`
	PatchStrategy string `json:"patchStrategy,omitempty"`
	PatchMergeKey string `json:"patchMergeKey,omitempty"`
}

// Definition is one Go struct by its OpenAPI name.
type Definition struct {
	Name   string     `json:"name"`
	Kinds  [][]string `json:"kinds,omitempty"`
	Fields []Field    `json:"fields"`
}

// scalars are the types that write themselves as JSON: their Go fields are not JSON's.
var scalars = map[string]string{
	"io.k8s.apimachinery.pkg.api.resource.Quantity":                                         "quantity",
	"io.k8s.apimachinery.pkg.apis.meta.v1.Time":                                             "time",
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":                                        "microtime",
	"io.k8s.apimachinery.pkg.apis.meta.v1.Duration":                                         "duration",
	"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1":                                         "json",
	"io.k8s.apimachinery.pkg.apis.meta.v1.Patch":                                            "json",
	"io.k8s.apimachinery.pkg.apis.meta.v1.Verbs":                                            "[]string",
	"io.k8s.apimachinery.pkg.runtime.RawExtension":                                          "raw",
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString":                                       "int-or-string",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON":                         "json",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool":        "json",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray":       "json",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "json",
}

type walker struct {
	done  map[string]*Definition
	kinds map[reflect.Type][][]string
}

// openAPIName turns `k8s.io/api/core/v1.Pod` into `io.k8s.api.core.v1.Pod`.
func openAPIName(t reflect.Type) string {
	parts := strings.Split(t.PkgPath()+"."+t.Name(), "/")
	host := strings.Split(parts[0], ".")
	for i, j := 0, len(host)-1; i < j; i, j = i+1, j-1 {
		host[i], host[j] = host[j], host[i]
	}
	parts[0] = strings.Join(host, ".")
	return strings.Join(parts, ".")
}

func (w *walker) typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return w.typeName(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int32, reflect.Int64, reflect.Float64, reflect.Uint8, reflect.Uint16:
		return t.Kind().String()
	case reflect.Int:
		return "int64"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + w.typeName(t.Elem())
	case reflect.Map:
		return "{}" + w.typeName(t.Elem())
	case reflect.Interface:
		return "json"
	case reflect.Struct:
		w.visit(t)
		return openAPIName(t)
	}
	panic(fmt.Sprintf("no word for %v", t))
}

func (w *walker) visit(t reflect.Type) {
	name := openAPIName(t)
	if _, seen := w.done[name]; seen || scalars[name] != "" {
		return
	}
	definition := &Definition{Name: name, Kinds: w.kinds[t]}
	w.done[name] = definition
	definition.Fields = w.fields(t, "", nil)
}

// fields lists a struct's fields, those of embedded structs among them. `embedded` names the Go structs on the way, `path`
// their protobuf numbers.
func (w *walker) fields(t reflect.Type, embedded string, path []int) []Field {
	fields := []Field{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, hasTag := f.Tag.Lookup("json")
		if tag == "-" || !f.IsExported() {
			continue
		}
		parts := strings.Split(tag, ",")
		number := protobufNumber(f)
		numbers := path
		if number > 0 {
			numbers = append(append([]int{}, path...), number)
		}
		if f.Anonymous && parts[0] == "" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			fields = append(fields, w.fields(inner, embedded+f.Name+".", numbers)...)
			continue
		}
		if !hasTag || parts[0] == "" {
			log.Fatalf("%v.%s has no JSON name", t, f.Name)
		}
		field := Field{
			Name: parts[0], Type: w.typeName(f.Type), GoType: goType(f.Type), Embedded: embedded, Pointer: f.Type.Kind() == reflect.Pointer,
			PatchStrategy: f.Tag.Get("patchStrategy"), PatchMergeKey: f.Tag.Get("patchMergeKey"),
		}
		if number > 0 {
			field.Protobuf = numbers
		}
		for _, option := range parts[1:] {
			field.OmitEmpty = field.OmitEmpty || option == "omitempty"
			field.OmitZero = field.OmitZero || option == "omitzero"
		}
		fields = append(fields, field)
	}
	return fields
}

// goType is the type as Go's decoder names it in errors.
func goType(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.String()
}

func protobufNumber(f reflect.StructField) int {
	parts := strings.Split(f.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return 0
	}
	number, err := strconv.Atoi(parts[1])
	if err != nil {
		log.Fatalf("%s: %v", f.Name, err)
	}
	return number
}

func main() {
	scheme := runtime.NewScheme()
	builtin.AddToScheme(scheme)
	w := &walker{done: map[string]*Definition{}, kinds: map[reflect.Type][][]string{}}
	types := []reflect.Type{}
	for gvk, t := range scheme.AllKnownTypes() {
		if gvk.Version == runtime.APIVersionInternal {
			continue
		}
		w.kinds[t] = append(w.kinds[t], []string{gvk.Group, gvk.Version, gvk.Kind})
		types = append(types, t)
	}
	for _, t := range types {
		w.visit(t)
	}
	w.visit(reflect.TypeFor[version.Info]())
	definitions := []*Definition{}
	for _, definition := range w.done {
		sort.Slice(definition.Kinds, func(i, j int) bool {
			return strings.Join(definition.Kinds[i], "/") < strings.Join(definition.Kinds[j], "/")
		})
		definitions = append(definitions, definition)
	}
	sort.Slice(definitions, func(i, j int) bool { return definitions[i].Name < definitions[j].Name })
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"definitions": definitions, "scalars": scalars}); err != nil {
		log.Fatal(err)
	}
}
