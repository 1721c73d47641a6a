package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"micromirror/packages/layout"
	"micromirror/packages/stick"
	"micromirror/packages/update"
)

// stickEvery is how often sticks are looked for while the network does not work.
const stickEvery = 3 * time.Second

// sticks looks for a node file that a host was sent.
func (n *box) sticks(u *update.Updater) *stick.Watcher {
	return &stick.Watcher{
		Sys: "/sys", Dev: "/dev", Dir: layout.RunDir + "/stick", Node: n.config.Node.Name, Report: layout.RunDir + "/updated/stick.json",
		Wanted: func() bool { return connected(networkState) != nil },
		Try:    func(ctx context.Context, f stick.Files) error { return u.Hand(ctx, f) },
		Every:  stickEvery, Log: n.log,
	}
}

// networkState is what netd says of the network.
const networkState = layout.RunDir + "/netd/state.json"

// connected says whether the network works as the node file wants it, by what
// netd says in a file.
func connected(file string) error {
	var s struct {
		Mode     string `json:"mode"`
		Gateways []struct {
			Address   string `json:"address"`
			Reachable bool   `json:"reachable"`
		} `json:"gateways"`
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	switch {
	case err != nil:
		return fmt.Errorf("state of the network: %w", err)
	case s.Mode != "configured":
		return errors.New("no gateway of the node file answers")
	}
	for _, g := range s.Gateways {
		if g.Reachable {
			return nil
		}
		err = fmt.Errorf("gateway %s does not answer", g.Address)
	}
	if err == nil {
		err = errors.New("no gateway is known")
	}
	return err
}
