package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/client"
	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A client of a node without configuration.
func anyone(ctx context.Context, n node) (*client.Client, error) {
	return client.New(ctx,
		client.WithEndpoints(n.Endpoint), client.WithTLSConfig(&tls.Config{InsecureSkipVerify: true}))
}

// An administrator of a node.
func (l *lab) admin(ctx context.Context, n node) (*client.Client, error) {
	return client.New(ctx, client.WithConfigContext(&clientconfig.Context{
		Endpoints: []string{n.Endpoint}, CA: l.CA, Crt: l.Crt, Key: l.Key,
	}))
}

// Runs it with an administrator of a node.
func (l *lab) with(ctx context.Context, n node, run func(context.Context, *client.Client) error) error {
	c, err := l.admin(ctx, n)
	if err != nil {
		return err
	}
	defer c.Close()
	if err = run(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// Repeats it until it succeeds.
func until(ctx context.Context, what string, run func(context.Context) error) error {
	end := time.Now().Add(40 * time.Second)
	for {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := run(one)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("never: %s: %w", what, err)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// Whether a call was refused as it should be.
func refused(err error, code codes.Code, words string) error {
	if err == nil {
		return fmt.Errorf("accepted, not refused with %v %q", code, words)
	}
	got := status.Convert(err)
	if got.Code() != code || !strings.Contains(got.Message(), words) {
		return fmt.Errorf("refused with %v %q, not with %v %q", got.Code(), got.Message(), code, words)
	}
	return nil
}

// All that a reader gives.
func all(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// The id of the boot that a node lives in.
func bootID(ctx context.Context, c *client.Client) (string, error) {
	return all(c.Read(ctx, "/proc/sys/kernel/random/boot_id"))
}

// Waits until a node has booted anew and is of a version.
func (l *lab) booted(ctx context.Context, n node, before, version string) error {
	return until(ctx, "boot of "+n.Name, func(ctx context.Context) error {
		return l.with(ctx, n, func(ctx context.Context, c *client.Client) error {
			id, err := bootID(ctx, c)
			if err != nil {
				return err
			}
			if id == before {
				return errors.New("still the same boot")
			}
			answer, err := c.Version(ctx)
			if err != nil {
				return err
			}
			if tag := answer.Messages[0].Version.Tag; tag != version {
				return fmt.Errorf("%s runs %s", n.Name, tag)
			}
			return nil
		})
	})
}
