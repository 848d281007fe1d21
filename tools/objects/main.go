// Command objects answers cases (JSON lines on standard input) with what upstream's own code makes of them: the cells of a table, an
// object in another version, a patched object, whether a label selector matches. `cases.py` makes the cases and keeps the answers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	"k8s.io/kubernetes/pkg/printers"
	"k8s.io/kubernetes/pkg/printers/internalversion"
)

type question struct {
	Mode     string            `json:"mode"`
	Object   json.RawMessage   `json:"object"`
	Version  string            `json:"version"`
	Original json.RawMessage   `json:"original"`
	Modified json.RawMessage   `json:"modified"`
	Patch    json.RawMessage   `json:"patch"`
	Selector string            `json:"selector"`
	Labels   map[string]string `json:"labels"`
}

type answer struct {
	Cells  []any           `json:"cells,omitempty"`
	Object json.RawMessage `json:"object,omitempty"`
	Patch  json.RawMessage `json:"patch,omitempty"`
	Match  bool            `json:"match,omitempty"`
	Error  string          `json:"error,omitempty"`
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<26)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		var asked question
		if err := json.Unmarshal(input.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		var found answer
		if err := found.fill(asked); err != nil {
			found.Error = err.Error()
		}
		if err := output.Encode(found); err != nil {
			log.Fatal(err)
		}
	}
}

func (a *answer) fill(q question) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("panic: %v", broken)
		}
	}()
	switch q.Mode {
	case "table":
		object, _, err := legacyscheme.Codecs.UniversalDecoder().Decode(q.Object, nil, nil)
		if err != nil {
			return err
		}
		generator := printers.NewTableGenerator().With(internalversion.AddHandlers)
		table, err := generator.GenerateTable(object, printers.GenerateOptions{Wide: true})
		if err != nil {
			return err
		}
		a.Cells = table.Rows[0].Cells
	case "convert":
		object, _, err := legacyscheme.Codecs.UniversalDecoder().Decode(q.Object, nil, nil)
		if err != nil {
			return err
		}
		version, err := schema.ParseGroupVersion(q.Version)
		if err != nil {
			return err
		}
		a.Object, err = runtime.Encode(legacyscheme.Codecs.LegacyCodec(version), object)
		return err
	case "strategic":
		var kind struct{ Kind string }
		if err := json.Unmarshal(q.Object, &kind); err != nil {
			return err
		}
		data := map[string]any{"Pod": corev1.Pod{}, "Service": corev1.Service{}, "Deployment": appsv1.Deployment{}}[kind.Kind]
		meta, err := strategicpatch.NewPatchMetaFromStruct(data)
		if err != nil {
			return err
		}
		if a.Patch, err = strategicpatch.CreateThreeWayMergePatch(q.Original, q.Modified, q.Object, meta, true); err != nil {
			return err
		}
		a.Object, err = strategicpatch.StrategicMergePatch(q.Object, a.Patch, data)
		return err
	case "json":
		patch, err := jsonpatch.DecodePatch(q.Patch)
		if err != nil {
			return err
		}
		a.Object, err = patch.Apply(q.Object)
		return err
	case "merge":
		a.Object, err = jsonpatch.MergePatch(q.Object, q.Patch)
		return err
	case "label":
		selector, err := labels.Parse(q.Selector)
		if err != nil {
			return err
		}
		a.Match = selector.Matches(labels.Set(q.Labels))
	}
	return nil
}
