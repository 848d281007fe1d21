// Command upstream prints what kube-apiserver's own decoder makes of bodies: the object with its defaults, or the error.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"reflect"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/admission/install"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apiserverinternal/install"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/authentication/install"
	_ "k8s.io/kubernetes/pkg/apis/authorization/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/extensions/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	_ "k8s.io/kubernetes/pkg/apis/storagemigration/install"
)

// hollow makes every pointer to a struct point to one, every list of structs hold one and every string map one key, and leaves
// all else empty: whatever has a default gets it. A type inside itself is left out.
func hollow(v reflect.Value, open map[reflect.Type]int) {
	switch v.Addr().Interface().(type) {
	case *metav1.Time:
		// Else a taint's would be now.
		v.Set(reflect.ValueOf(metav1.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
		return
	case *metav1.TypeMeta, *metav1.ObjectMeta, *metav1.ListMeta, *metav1.MicroTime, *resource.Quantity,
		*intstr.IntOrString, *runtime.RawExtension, *metav1.FieldsV1, *apiextensions.JSON, *metav1.LabelSelector:
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		element := v.Type().Elem()
		if element.Kind() != reflect.Struct || open[element] > 0 {
			return
		}
		v.Set(reflect.New(element))
		hollow(v.Elem(), open)
	case reflect.Struct:
		open[v.Type()]++
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				hollow(v.Field(i), open)
			}
		}
		open[v.Type()]--
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct && open[v.Type().Elem()] == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			hollow(v.Index(0), open)
		}
	case reflect.Map:
		if v.Type().Elem() == reflect.TypeFor[resource.Quantity]() {
			v.Set(reflect.MakeMap(v.Type()))
			key := reflect.New(v.Type().Key()).Elem()
			key.SetString("cpu")
			v.SetMapIndex(key, reflect.ValueOf(resource.MustParse("1500u")))
		}
	}
}

// answer is what kube-apiserver makes of one body.
type answer struct {
	Kind   [3]string       `json:"kind"`
	Body   string          `json:"body"`
	Object json.RawMessage `json:"object,omitempty"`
	Strict []string        `json:"strict,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// ask decodes a body as the create handler does and writes it again in its version.
func ask(gvk schema.GroupVersionKind, body []byte) answer {
	codecs := legacyscheme.Codecs
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), "application/json")
	internal := schema.GroupVersion{Group: gvk.Group, Version: runtime.APIVersionInternal}
	into, err := legacyscheme.Scheme.New(internal.WithKind(gvk.Kind))
	if err != nil {
		log.Fatal(err)
	}
	object, _, err := codecs.DecoderToVersion(info.StrictSerializer, internal).Decode(body, &gvk, into)
	made := answer{Kind: [3]string{gvk.Group, gvk.Version, gvk.Kind}, Body: string(body)}
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		for _, each := range strict.Errors() {
			made.Strict = append(made.Strict, each.Error())
		}
	} else if err != nil {
		// The scheme is named after the file that made it, which Go finds only in upstream's own build.
		made.Error = strings.ReplaceAll(err.Error(), "pkg/runtime/scheme.go:111", "pkg/api/legacyscheme/scheme.go:30")
		return made
	}
	if made.Object, err = runtime.Encode(codecs.EncoderForVersion(info.Serializer, gvk.GroupVersion()), object); err != nil {
		log.Fatal(gvk, err)
	}
	return made
}

// builtIn makes an object of a kind with nothing but a name, or a hollow one.
func builtIn(gvk schema.GroupVersionKind, full bool) []byte {
	object, err := legacyscheme.Scheme.New(gvk)
	if err != nil {
		log.Fatal(err)
	}
	if full {
		hollow(reflect.ValueOf(object).Elem(), map[reflect.Type]int{})
	}
	object.GetObjectKind().SetGroupVersionKind(gvk)
	if metadata := reflect.ValueOf(object).Elem().FieldByName("ObjectMeta"); metadata.IsValid() {
		metadata.FieldByName("Name").SetString("x")
	}
	body, err := json.Marshal(object)
	if err != nil {
		log.Fatal(err)
	}
	return body
}

// main reads [group, version, kind, body] a line; an empty body asks for the kind's own two.
func main() {
	out := json.NewEncoder(os.Stdout)
	rows := json.NewDecoder(bufio.NewReader(os.Stdin))
	for rows.More() {
		var row [4]string
		if err := rows.Decode(&row); err != nil {
			log.Fatal(err)
		}
		gvk := schema.GroupVersionKind{Group: row[0], Version: row[1], Kind: row[2]}
		bodies := [][]byte{[]byte(row[3])}
		if row[3] == "" {
			bodies = [][]byte{builtIn(gvk, false), builtIn(gvk, true)}
		}
		for _, body := range bodies {
			if err := out.Encode(ask(gvk, body)); err != nil {
				log.Fatal(err)
			}
		}
	}
}
