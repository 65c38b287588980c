package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/api/common"
	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"google.golang.org/grpc/codes"
)

var saved []byte

// The database is a whole one: pages, and the digest of all of them at the end.
func snapshot(ctx context.Context, l *lab) error {
	return l.with(ctx, l.Nodes[0], func(ctx context.Context, c *client.Client) error {
		text, err := all(c.EtcdSnapshot(ctx, &machine.EtcdSnapshotRequest{}))
		if err != nil {
			return err
		}
		saved = []byte(text)
		if len(saved)%512 != sha256.Size {
			return fmt.Errorf("%d bytes are no database with a digest", len(saved))
		}
		body := saved[:len(saved)-sha256.Size]
		if sum := sha256.Sum256(body); !bytes.Equal(sum[:], saved[len(body):]) {
			return errors.New("the digest is wrong")
		}
		return nil
	})
}

var containerd = &common.ContainerdInstance{
	Driver: common.ContainerDriver_CRI, Namespace: common.ContainerdNamespace_NS_SYSTEM,
}

// Control planes the newer way, one by one, then the worker the older way.
func upgrade(ctx context.Context, l *lab) error {
	for _, n := range l.Nodes {
		before := ""
		err := l.with(ctx, n, func(ctx context.Context, c *client.Client) (err error) {
			if before, err = bootID(ctx, c); err != nil {
				return err
			}
			if n.Name == "w1" {
				_, err = c.UpgradeWithOptions(ctx, client.WithUpgradeImage(l.Image))
				return err
			}
			return newer(ctx, c, l.Image)
		})
		if err != nil {
			return err
		}
		if err = l.booted(ctx, n, before, l.Version); err != nil {
			return err
		}
		if n.Name != "w1" {
			if err = l.members(ctx, n, 3); err != nil {
				return err
			}
		}
	}
	return nil
}

func newer(ctx context.Context, c *client.Client, image string) error {
	request := &machine.LifecycleServiceUpgradeRequest{
		Containerd: containerd, Source: &machine.InstallArtifactsSource{ImageName: image},
	}
	absent, err := c.LifecycleClient.Upgrade(ctx, request)
	if err == nil {
		_, err = absent.Recv()
	}
	if err = refused(err, codes.Internal, "not found in containerd store"); err != nil {
		return err
	}
	pull, err := c.ImageClient.Pull(ctx, &machine.ImageServicePullRequest{Containerd: containerd, ImageRef: image})
	if err != nil {
		return err
	}
	for {
		if _, err = pull.Recv(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	work, err := c.LifecycleClient.Upgrade(ctx, request)
	if err != nil {
		return err
	}
	code := int32(-1)
	for {
		frame, err := work.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if end, ok := frame.GetProgress().GetResponse().(*machine.LifecycleServiceInstallProgress_ExitCode); ok {
			code = end.ExitCode
		}
	}
	if code != 0 {
		return fmt.Errorf("the installer ended with %d", code)
	}
	return c.Reboot(ctx)
}

// Back to the version before.
func rollback(ctx context.Context, l *lab) error {
	worker := l.Nodes[len(l.Nodes)-1]
	before := ""
	err := l.with(ctx, worker, func(ctx context.Context, c *client.Client) (err error) {
		if before, err = bootID(ctx, c); err != nil {
			return err
		}
		return c.Rollback(ctx)
	})
	if err != nil {
		return err
	}
	return l.booted(ctx, worker, before, l.From)
}

// A member goes: it is reset, and waits for a configuration; then it comes back.
func leave(ctx context.Context, l *lab) error {
	gone := l.Nodes[2]
	if err := l.reset(ctx, gone, true); err != nil {
		return err
	}
	if err := l.members(ctx, l.Nodes[0], 2); err != nil {
		return err
	}
	if err := l.apply(ctx, gone); err != nil {
		return err
	}
	return l.members(ctx, l.Nodes[0], 3)
}

func (l *lab) reset(ctx context.Context, n node, graceful bool) error {
	return l.with(ctx, n, func(ctx context.Context, c *client.Client) error {
		return c.ResetGeneric(ctx, &machine.ResetRequest{
			Graceful: graceful, Reboot: true,
			SystemPartitionsToWipe: []*machine.ResetPartitionSpec{
				{Label: "STATE", Wipe: true}, {Label: "EPHEMERAL", Wipe: true},
			},
		})
	})
}

// All control planes are lost; the cluster comes back from the snapshot.
func recovery(ctx context.Context, l *lab) error {
	for _, n := range l.Nodes[:3] {
		if err := l.reset(ctx, n, false); err != nil {
			return err
		}
	}
	for _, n := range l.Nodes[:3] {
		if err := l.apply(ctx, n); err != nil {
			return err
		}
	}
	err := until(ctx, "upload", func(ctx context.Context) error {
		return l.with(ctx, l.Nodes[0], func(ctx context.Context, c *client.Client) error {
			_, err := c.EtcdRecover(ctx, bytes.NewReader(saved))
			return err
		})
	})
	if err != nil {
		return err
	}
	if err = l.found(ctx, &machine.BootstrapRequest{RecoverEtcd: true}); err != nil {
		return err
	}
	time.Sleep(10 * time.Millisecond)
	return l.members(ctx, l.Nodes[0], 3)
}
