package card

import (
	"bytes"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/hardware"
	"micromirror/packages/node"
)

func reference(t *testing.T) *Card {
	t.Helper()
	const dir = "../node/reference"
	c, err := node.ReadDesk(filepath.Join(dir, "fleet.json"), filepath.Join(dir, "node.json"), "")
	if err != nil {
		t.Fatal(err)
	}
	models, err := hardware.Load(os.DirFS("../../hardware"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models {
		if m.Model == "hp-t620-plus" {
			return &Card{Config: c, Model: &m, MAC: "00:02:c9:00:00:01"}
		}
	}
	t.Fatal("no hp-t620-plus")
	return nil
}

func text(t *testing.T, c *Card) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return html.UnescapeString(b.String())
}

func TestCardSaysEverything(t *testing.T) {
	c := reference(t)
	got := text(t, c)
	for _, want := range []string{"demo.mirrors.example.net", "Example Networks", "HP t620 PLUS", "00:02:c9:00:00:01", "192.0.2.10/24", "2001:db8::10/64",
		"fe80::1", "192.0.2.53", "VLAN 101", "802.3ad", "noc@example.net", "CS1", "100M", "ttyS0"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q", want)
		}
	}
	c.Config.Node.DisableDSCP = true
	if got := text(t, c); strings.Contains(got, "CS1") || !strings.Contains(got, "not marked") {
		t.Error("unmarked traffic is said to be marked")
	}
}

func TestConnections(t *testing.T) {
	got := outbound(reference(t).Config)
	want := []connection{
		{"TCP", "873", "rsync.example.net", "rsync: what it mirrors"},
		{"TCP", "443", "updates.example.net", "signed updates"},
		{"TCP", "80", "updates2.example.net", "signed updates"},
		{"TCP", "443", "acme.example.net", "its certificate (ACME)"},
		{"TCP", "1883", "mqtt.example.net", "word of new files (MQTT)"},
		{"UDP, TCP", "53", "192.0.2.53, 2001:db8::53", "DNS"},
		{"UDP", "123", "ntp1.example.net, ntp2.example.net, 192.0.2.123", "time (NTP)"},
		{"TCP", "6514", "logs.example.net", "log (syslog over TLS)"},
		{"TCP", "443", "metrics.example.net", "its figures"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestNothingNeededIsNotListed(t *testing.T) {
	c := reference(t)
	c.Config.Fleet.Telemetry, c.Config.Fleet.ACME, c.Config.Fleet.MQTT = node.Telemetry{}, node.ACME{}, node.MQTT{}
	for _, n := range outbound(c.Config) {
		if strings.Contains(n.Why, "ACME") || strings.Contains(n.Why, "MQTT") || strings.Contains(n.Why, "syslog") || n.Why == "its figures" {
			t.Errorf("lists %v", n)
		}
	}
}

// What a file says cannot become markup.
func TestEscaped(t *testing.T) {
	c := reference(t)
	c.Config.Node.Sponsor.Name = `<script>alert("x")</script>`
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script>") {
		t.Error("a sponsor's name is markup")
	}
}
