package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/talos/pkg/machinery/api/common"
	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/resources/cluster"
	"github.com/siderolabs/talos/pkg/machinery/resources/config"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/etcd"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/hardware"
	"github.com/siderolabs/talos/pkg/machinery/resources/network"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/time"
	"github.com/siderolabs/talos/pkg/machinery/resources/v1alpha1"
	"google.golang.org/grpc/codes"
	"gopkg.in/yaml.v3"
)

// What the nodes say of themselves and of each other.
func resources(ctx context.Context, l *lab) error {
	return l.with(ctx, l.Nodes[0], func(ctx context.Context, c *client.Client) error {
		err := until(ctx, "members", func(ctx context.Context) error {
			members, err := safe.StateListAll[*cluster.Member](ctx, c.COSI)
			if err != nil {
				return err
			}
			if members.Len() != len(l.Nodes) {
				return fmt.Errorf("%d members", members.Len())
			}
			for member := range members.All() {
				if member.TypedSpec().NodeID == "" || len(member.TypedSpec().Addresses) == 0 {
					return fmt.Errorf("half a member: %v", member.TypedSpec())
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err = everything(ctx, c); err != nil {
			return err
		}
		own, err := safe.StateGetByID[*config.MachineConfig](ctx, c.COSI, config.ActiveID)
		if err != nil {
			return err
		}
		shown, err := yaml.Marshal(own.Spec())
		if err != nil || own.Config().Cluster().Name() == "" || len(shown) == 0 {
			return fmt.Errorf("no configuration in %d bytes: %w", len(shown), err)
		}
		if err = watch(ctx, c); err != nil {
			return err
		}
		unknown := state.WithListUnmarshalOptions(state.WithSkipProtobufUnmarshal())
		_, err = c.COSI.List(ctx, resource.NewMetadata("runtime", "Nothings.runtime.talos.dev", "", resource.VersionUndefined), unknown)
		return refused(err, codes.PermissionDenied, "is not supported")
	})
}

// Every resource of every type says the same in both forms.
func everything(ctx context.Context, c *client.Client) error {
	definitions, err := safe.StateListAll[*meta.ResourceDefinition](ctx, c.COSI)
	if err != nil {
		return err
	}
	count := 0
	var wrong []error
	for definition := range definitions.All() {
		spec := definition.TypedSpec()
		of := resource.NewMetadata(spec.DefaultNamespace, spec.Type, "", resource.VersionUndefined)
		typed, err := c.COSI.List(ctx, of)
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Type, err)
		}
		shown, err := c.COSI.List(ctx, of, state.WithListUnmarshalOptions(state.WithSkipProtobufUnmarshal()))
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Type, err)
		}
		if len(typed.Items) != len(shown.Items) {
			return fmt.Errorf("%s changes while it is read", spec.Type)
		}
		if spec.Type == config.MachineConfigType || spec.Type == meta.ResourceDefinitionType {
			// One's text is a document of its own, and the other's says more than its message.
			continue
		}
		for i, item := range typed.Items {
			if err = agrees(item, shown.Items[i]); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", item.Metadata(), err))
			}
		}
		count += len(typed.Items)
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	if count < 100 {
		return fmt.Errorf("only %d resources of %d types", count, definitions.Len())
	}
	return nil
}

// A watch begins with what there is, and goes on where another one stopped.
func watch(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	events := make(chan state.Event)
	kind := resource.NewMetadata(v1alpha1.NamespaceName, v1alpha1.ServiceType, "", resource.VersionUndefined)
	first, stop := context.WithCancel(ctx)
	defer stop()
	if err := c.COSI.WatchKind(first, kind, events, state.WithBootstrapContents(true)); err != nil {
		return err
	}
	var mark state.Bookmark
	seen := 0
	for mark == nil {
		event, err := next(ctx, events)
		if err != nil {
			return err
		}
		switch event.Type {
		case state.Created:
			seen++
		case state.Bootstrapped:
			mark = event.Bookmark
		case state.Errored:
			return event.Error
		default:
			return fmt.Errorf("%v before the end of the contents", event.Type)
		}
	}
	if seen < 8 {
		return fmt.Errorf("only %d services", seen)
	}
	stop()

	if _, err := c.ServiceStop(ctx, "kubelet"); err != nil {
		return err
	}
	if _, err := c.ServiceStart(ctx, "kubelet"); err != nil {
		return err
	}
	later := make(chan state.Event)
	if err := c.COSI.WatchKind(ctx, kind, later, state.WithKindStartFromBookmark(mark)); err != nil {
		return err
	}
	for _, wanted := range []state.EventType{state.Destroyed, state.Created} {
		event, err := next(ctx, later)
		if err != nil {
			return err
		}
		if event.Type == state.Errored {
			return event.Error
		}
		if event.Type != wanted || event.Resource.Metadata().ID() != "kubelet" {
			return fmt.Errorf("%v of %s, not %v of kubelet", event.Type, event.Resource.Metadata(), wanted)
		}
	}
	_, err := safe.StateWatchFor[*network.HostnameStatus](ctx, c.COSI,
		network.NewHostnameStatus(network.NamespaceName, network.HostnameID).Metadata(),
		state.WithEventTypes(state.Created, state.Updated))
	return err
}

func next(ctx context.Context, events <-chan state.Event) (state.Event, error) {
	select {
	case event := <-events:
		return event, nil
	case <-ctx.Done():
		return state.Event{}, errors.New("the watch is silent")
	}
}

// Logs, files, events.
func streams(ctx context.Context, l *lab) error {
	return l.with(ctx, l.Nodes[0], func(ctx context.Context, c *client.Client) error {
		for _, id := range []string{"apid", "etcd", "kubelet", "machined"} {
			if err := lines(ctx, c, id); err != nil {
				return fmt.Errorf("log of %s: %w", id, err)
			}
		}
		dmesg, err := c.Dmesg(ctx, false, false)
		if err != nil {
			return err
		}
		frame, err := dmesg.Recv()
		if err != nil || !strings.Contains(string(frame.Bytes), "kern:") {
			return fmt.Errorf("the kernel says %q: %w", frame.GetBytes(), err)
		}
		release, err := all(c.Read(ctx, "/etc/os-release"))
		if err != nil || !strings.Contains(release, l.From) {
			return fmt.Errorf("release %q: %w", release, err)
		}
		if err = files(ctx, c); err != nil {
			return err
		}
		kubeconfig, err := c.Kubeconfig(ctx)
		if err != nil || !strings.Contains(string(kubeconfig), "client-certificate-data") {
			return fmt.Errorf("kubeconfig: %w", err)
		}
		results := make(chan client.EventResult)
		if err = c.EventsWatchV2(ctx, results, client.WithTailEvents(-1)); err != nil {
			return err
		}
		for result := range results {
			if result.Error != nil {
				return result.Error
			}
			status, ok := result.Event.Payload.(*machine.MachineStatusEvent)
			if ok && status.Stage == machine.MachineStatusEvent_RUNNING {
				return nil
			}
		}
		return errors.New("no event says that the node runs")
	})
}

func lines(ctx context.Context, c *client.Client, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := c.Logs(ctx, "system", common.ContainerDriver_CONTAINERD, id, false, 5)
	if err != nil {
		return err
	}
	text, err := all(client.ReadStream(ended))
	if err != nil {
		return err
	}
	if count := strings.Count(text, "\n"); count == 0 || count > 5 {
		return fmt.Errorf("%d lines of five", count)
	}
	open, err := c.Logs(ctx, "system", common.ContainerDriver_CONTAINERD, id, true, -1)
	if err != nil {
		return err
	}
	_, err = open.Recv()
	return err
}

func files(ctx context.Context, c *client.Client) error {
	list, err := c.LS(ctx, &machine.ListRequest{Root: "/etc", Recurse: true})
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for {
		info, err := list.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		names[info.Name] = true
	}
	if !names["/etc/os-release"] {
		return fmt.Errorf("/etc holds %v", names)
	}
	packed, err := c.Copy(ctx, "/etc")
	if err != nil {
		return err
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err != nil {
			return fmt.Errorf("os-release is not in the archive: %w", err)
		}
		if strings.HasSuffix(header.Name, "os-release") && header.Size > 0 {
			return nil
		}
	}
}
