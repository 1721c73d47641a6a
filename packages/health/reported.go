package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/certificate"
)

// The checks below read what other daemons report of themselves; each reads
// only the fields that it needs.

func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("no report: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

type network struct {
	Mode      string `json:"mode"`
	MAC       string `json:"mac"`
	Carrier   bool   `json:"carrier"`
	Addresses []struct {
		Address string `json:"address"`
		State   string `json:"state"`
	} `json:"addresses"`
	Gateways []struct {
		Address   string `json:"address"`
		Reachable bool   `json:"reachable"`
		Ever      bool   `json:"ever_answered"`
	} `json:"gateways"`
	Error string `json:"error"`
}

// Port returns a check that netd, whose state is in file, has a port.
func Port(file string) func(context.Context) error {
	return func(context.Context) error {
		var n network
		if err := read(file, &n); err != nil {
			return err
		}
		if n.MAC == "" {
			return errors.New("no network port found")
		}
		return nil
	}
}

// Link returns a check that the port has a cable.
func Link(file string) func(context.Context) error {
	return func(context.Context) error {
		var n network
		if err := read(file, &n); err != nil {
			return err
		}
		if !n.Carrier {
			return fmt.Errorf("no carrier: check the cable in the port with MAC %s", n.MAC)
		}
		return nil
	}
}

// Address returns a check that the node has a usable address, and all it wants.
func Address(file string) func(context.Context) error {
	return func(context.Context) error {
		var n network
		if err := read(file, &n); err != nil {
			return err
		}
		usable := 0
		bad := outOfMode(n.Mode)
		for _, a := range n.Addresses {
			if a.State == "ok" {
				usable++
			} else {
				bad = fmt.Errorf("address %s: %s", a.Address, a.State)
			}
		}
		switch {
		case usable == 0 && bad != nil:
			return bad
		case usable == 0:
			return errors.New("no address yet")
		default:
			return Warning(bad)
		}
	}
}

// outOfMode says in plain words that the node file is not in force.
func outOfMode(mode string) error {
	switch mode {
	case "rescue":
		return errors.New("no gateway of the node file has ever answered: check addresses and gateway")
	case "previous":
		return errors.New("the new node file's gateway does not answer, the former one is in force")
	}
	return nil
}

// Gateway returns a check that a gateway answers; those that do not beside it
// are a warning.
func Gateway(file string) func(context.Context) error {
	return func(context.Context) error {
		var n network
		if err := read(file, &n); err != nil {
			return err
		}
		answering := 0
		var bad error
		for _, g := range n.Gateways {
			if g.Reachable {
				answering++
			} else {
				bad = fmt.Errorf("gateway %s does not answer", g.Address)
			}
		}
		switch {
		case len(n.Gateways) == 0:
			return errors.New("no gateway known")
		case answering == 0:
			return bad
		default:
			return Warning(bad)
		}
	}
}

// Clock returns a check that a time server was heard within the last day.
func Clock(file string) func(context.Context) error {
	return func(context.Context) error {
		var c struct {
			Synced bool   `json:"synced"`
			Error  string `json:"error"`
		}
		if err := read(file, &c); err != nil {
			return err
		}
		if !c.Synced {
			return fmt.Errorf("no time server heard: %s", c.Error)
		}
		return nil
	}
}

// Certificate returns a check that there is a certificate, as acmed says in file.
// One that has expired or cannot be renewed is a warning: HTTPS is served with it.
func Certificate(file string, now func() time.Time) func(context.Context) error {
	return func(context.Context) error {
		status := certificate.ReadStatus(file)
		words := status.Words(now())
		switch {
		case words == "":
			return nil
		case status.State == certificate.None:
			return errors.New(words)
		default:
			return Warning(errors.New(words))
		}
	}
}
