// Package builtin knows every built-in kind.
package builtin

import (
	"log"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// AddToScheme registers every built-in kind: client-go's, custom resource definitions, API services, and the kinds of meta/v1.
func AddToScheme(into *runtime.Scheme) {
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme, metav1.AddMetaToScheme,
	} {
		if err := add(into); err != nil {
			log.Fatal(err)
		}
	}
	metav1.AddToGroupVersion(into, schema.GroupVersion{Version: "v1"})
	into.AddKnownTypes(schema.GroupVersion{Version: "v1"}, &metav1.APIResourceList{}, &metav1.APIGroupList{}, &metav1.APIVersions{})
}
