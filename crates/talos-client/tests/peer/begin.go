package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/client"
	"github.com/siderolabs/talos/pkg/machinery/resources/block"
	"github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	"google.golang.org/grpc/codes"
)

// Every node waits for its configuration, shows its disks, and takes it.
func maintenance(ctx context.Context, l *lab) error {
	for _, n := range l.Nodes {
		if err := l.apply(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

func (l *lab) apply(ctx context.Context, n node) error {
	c, err := anyone(ctx, n)
	if err != nil {
		return err
	}
	defer c.Close()
	err = until(ctx, "maintenance", func(ctx context.Context) error {
		state, err := safe.StateGetByID[*runtime.MachineStatus](ctx, c.COSI, runtime.MachineStatusID)
		if err != nil {
			return err
		}
		if stage := state.TypedSpec().Stage; stage != runtime.MachineStageMaintenance {
			return fmt.Errorf("stage %s", stage)
		}
		return nil
	})
	if err != nil {
		return err
	}
	disks, err := safe.StateListAll[*block.Disk](ctx, c.COSI)
	if err != nil {
		return err
	}
	found := false
	for disk := range disks.All() {
		found = found || disk.TypedSpec().DevPath == "/dev/vda" && disk.TypedSpec().Size > 0
	}
	if !found {
		return errors.New("no disk to install to")
	}
	if err = refused(c.Bootstrap(ctx, &machine.BootstrapRequest{}), codes.PermissionDenied, "not authorized"); err != nil {
		return err
	}
	for _, mode := range []bool{true, false} {
		answer, err := c.ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{
			Data: []byte(n.Config), Mode: machine.ApplyConfigurationRequest_AUTO, DryRun: mode,
		})
		if err != nil {
			return err
		}
		if got := answer.Messages[0].Mode; got != machine.ApplyConfigurationRequest_NO_REBOOT {
			return fmt.Errorf("applied with mode %v", got)
		}
	}
	return nil
}

// The first node founds the cluster, once, and the others join.
func bootstrap(ctx context.Context, l *lab) error {
	if err := l.found(ctx, &machine.BootstrapRequest{}); err != nil {
		return err
	}
	if err := l.members(ctx, l.Nodes[0], 3); err != nil {
		return err
	}
	return l.with(ctx, l.Nodes[1], func(ctx context.Context, c *client.Client) error {
		again := c.Bootstrap(ctx, &machine.BootstrapRequest{})
		return refused(again, codes.AlreadyExists, "etcd data directory is not empty")
	})
}

func (l *lab) found(ctx context.Context, request *machine.BootstrapRequest) error {
	return until(ctx, "bootstrap", func(ctx context.Context) error {
		return l.with(ctx, l.Nodes[0], func(ctx context.Context, c *client.Client) error {
			return c.Bootstrap(ctx, request)
		})
	})
}

// Waits until so many members of etcd vote.
func (l *lab) members(ctx context.Context, n node, count int) error {
	return until(ctx, fmt.Sprintf("%d members", count), func(ctx context.Context) error {
		return l.with(ctx, n, func(ctx context.Context, c *client.Client) error {
			answer, err := c.EtcdMemberList(ctx, &machine.EtcdMemberListRequest{})
			if err != nil {
				return err
			}
			voters := 0
			for _, member := range answer.Messages[0].Members {
				if !member.IsLearner {
					voters++
				}
			}
			if voters != count || len(answer.Messages[0].Members) != count {
				return fmt.Errorf("members are %v", answer.Messages[0].Members)
			}
			_, err = c.EtcdStatus(ctx)
			return err
		})
	})
}
