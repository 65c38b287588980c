// Command peer leads simulated nodes through the whole life of a cluster, as a client of other hands: it is built on
// Talos' machinery library and knows nothing of this repository.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// A node that the test has powered on.
type node struct {
	Name string `json:"name"`
	// Where its machine API is reached.
	Endpoint string `json:"endpoint"`
	// The configuration that it is to get.
	Config string `json:"config"`
}

// What the test hands over on standard input: three control planes and a worker, in this order.
type lab struct {
	Nodes []node `json:"nodes"`
	// Client configuration of an administrator.
	CA  string `json:"ca"`
	Crt string `json:"crt"`
	Key string `json:"key"`
	// The version that the nodes are of, and what an upgrade brings.
	From    string `json:"from"`
	Image   string `json:"image"`
	Version string `json:"version"`
}

func main() {
	var given lab
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		fail("read the description of the nodes", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	for _, chapter := range []struct {
		name string
		run  func(context.Context, *lab) error
	}{
		{"maintenance", maintenance},
		{"bootstrap", bootstrap},
		{"resources", resources},
		{"streams", streams},
		{"snapshot", snapshot},
		{"upgrade", upgrade},
		{"rollback", rollback},
		{"leave", leave},
		{"recover", recovery},
	} {
		begun := time.Now()
		if err := chapter.run(ctx, &given); err != nil {
			fail(chapter.name, err)
		}
		fmt.Printf("%s: %v\n", chapter.name, time.Since(begun).Round(time.Millisecond))
	}
}

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(1)
}
