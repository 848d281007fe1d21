// A controller's day in client-go: it is elected, its informers fill, it creates, patches, sees pods become ready, and cleans
// up. It prints one line for each step and ends with an error at the first that fails.
//
// Usage: informer KUBECONFIG NAMESPACE
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	resync   = 0
	patience = 60 * time.Second
	// What kubelets and controllers send and accept: protobuf first, JSON as well.
	protobuf = "application/vnd.kubernetes.protobuf"
)

var labels = map[string]string{"app": "web"}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, namespace string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = protobuf
	config.AcceptContentTypes = protobuf + ",application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var failure error
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  meta.ObjectMeta{Name: "informer", Namespace: namespace},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: "one"},
		},
		LeaseDuration:   15 * time.Second,
		RenewDeadline:   10 * time.Second,
		RetryPeriod:     2 * time.Second,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				fmt.Println("leading")
				failure = work(ctx, client, namespace)
				stop()
			},
			OnStoppedLeading: func() { fmt.Println("released") },
		},
	})
	if failure != nil {
		return failure
	}
	lease, err := client.CoordinationV1().Leases(namespace).Get(context.Background(), "informer", meta.GetOptions{})
	if err != nil {
		return err
	}
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		return fmt.Errorf("the lease was not released: %s holds it", *holder)
	}
	return nil
}

// What the informers have seen, counted by kind of event.
type seen chan string

func (s seen) wait(ctx context.Context, wanted string) error {
	for {
		select {
		case event := <-s:
			if event == wanted {
				fmt.Println("seen", wanted)
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("never seen: %s", wanted)
		}
	}
}

func work(ctx context.Context, client kubernetes.Interface, namespace string) error {
	factory := informers.NewSharedInformerFactoryWithOptions(client, resync, informers.WithNamespace(namespace))
	events := make(seen, 1024)
	deployments := factory.Apps().V1().Deployments()
	if _, err := deployments.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { events <- "added" },
		UpdateFunc: func(_, obj any) {
			deployment := obj.(*apps.Deployment)
			events <- fmt.Sprintf("%d ready of %d", deployment.Status.ReadyReplicas, *deployment.Spec.Replicas)
		},
		DeleteFunc: func(any) { events <- "deleted" },
	}); err != nil {
		return err
	}
	pods := factory.Core().V1().Pods().Lister()
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("the informer of %v was not filled", kind)
		}
	}
	fmt.Println("synced")

	api := client.AppsV1().Deployments(namespace)
	if _, err := api.Create(ctx, web(2), meta.CreateOptions{}); err != nil {
		return err
	}
	if _, err := api.Create(ctx, web(2), meta.CreateOptions{}); !errors.IsAlreadyExists(err) {
		return fmt.Errorf("a second create was not refused: %v", err)
	}
	if err := events.wait(ctx, "added"); err != nil {
		return err
	}
	if err := events.wait(ctx, "2 ready of 2"); err != nil {
		return err
	}
	patch := []byte(`{"spec":{"replicas":3}}`)
	if _, err := api.Patch(ctx, "web", types.StrategicMergePatchType, patch, meta.PatchOptions{}); err != nil {
		return err
	}
	if err := events.wait(ctx, "3 ready of 3"); err != nil {
		return err
	}
	if err := conflict(ctx, client, namespace); err != nil {
		return err
	}
	selector, err := meta.LabelSelectorAsSelector(&meta.LabelSelector{MatchLabels: labels})
	if err != nil {
		return err
	}
	// Pods have a watch of their own, which may be a moment behind that of the deployments.
	err = wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(context.Context) (bool, error) {
		cached, err := pods.Pods(namespace).List(selector)
		return len(cached) == 3, err
	})
	if err != nil {
		return fmt.Errorf("the cache never held three pods: %w", err)
	}
	fmt.Println("pods in the cache")
	foreground := meta.DeletePropagationForeground
	if err := api.Delete(ctx, "web", meta.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		return err
	}
	return events.wait(ctx, "deleted")
}

// An update of what has changed meanwhile is refused, and the refusal is typed.
func conflict(ctx context.Context, client kubernetes.Interface, namespace string) error {
	api := client.AppsV1().Deployments(namespace)
	old, err := api.Get(ctx, "web", meta.GetOptions{})
	if err != nil {
		return err
	}
	fresh := old.DeepCopy()
	fresh.Annotations["note"] = "first"
	if _, err := api.Update(ctx, fresh, meta.UpdateOptions{}); err != nil {
		return err
	}
	old.Annotations["note"] = "second"
	if _, err := api.Update(ctx, old, meta.UpdateOptions{}); !errors.IsConflict(err) {
		return fmt.Errorf("an update of an old state was not refused: %v", err)
	}
	fmt.Println("conflict")
	return nil
}

func web(replicas int32) *apps.Deployment {
	return &apps.Deployment{
		ObjectMeta: meta.ObjectMeta{Name: "web"},
		Spec: apps.DeploymentSpec{
			Replicas: &replicas,
			Selector: &meta.LabelSelector{MatchLabels: labels},
			Template: core.PodTemplateSpec{
				ObjectMeta: meta.ObjectMeta{Labels: labels},
				Spec:       core.PodSpec{Containers: []core.Container{{Name: "web", Image: "nginx"}}},
			},
		},
	}
}
