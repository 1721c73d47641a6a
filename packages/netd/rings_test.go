package netd

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// nicDriver is a driver with its rings.
type nicDriver struct {
	ring
	err  error // of a change
	sets int
}

func (c *nicDriver) call(_ string, r *ring) error {
	switch r.cmd {
	case unix.ETHTOOL_GRINGPARAM:
		*r = c.ring
	case unix.ETHTOOL_SRINGPARAM:
		c.sets++
		if c.err != nil {
			return c.err
		}
		c.ring = *r
	}
	return nil
}

func TestRings(t *testing.T) {
	for name, c := range map[string]struct {
		card   nicDriver
		rx, tx uint32
		sets   int
	}{
		"BCM5720":         {nicDriver{ring: ring{rxMax: 2047, rxJumboMax: 1023, txMax: 511, rx: 200, rxJumbo: 100, tx: 511}}, 2047, 511, 1},
		"e1000e":          {nicDriver{ring: ring{rxMax: 4096, txMax: 4096, rx: 256, tx: 256}}, 2048, 2048, 1},
		"RTL8168":         {nicDriver{ring: ring{rxMax: 256, txMax: 256, rx: 256, tx: 256}}, 256, 256, 0},
		"longer by hand":  {nicDriver{ring: ring{rxMax: 8192, txMax: 8192, rx: 4096, tx: 4096}}, 4096, 4096, 0},
		"driver says no":  {nicDriver{ring: ring{rxMax: 8192, txMax: 8192, rx: 512, tx: 512}, err: unix.EINVAL}, 512, 512, 1},
		"knows no bounds": {nicDriver{ring: ring{rx: 64, tx: 64}}, 64, 64, 0},
	} {
		jumbo := c.card.rxJumbo
		if _, _, err := enlarge("eth0", c.card.call); !errors.Is(err, c.card.err) {
			t.Errorf("%s: %v", name, err)
		}
		if c.card.rx != c.rx || c.card.tx != c.tx || c.card.rxJumbo != jumbo || c.card.sets != c.sets {
			t.Errorf("%s: %+v, want %d in, %d out, %d changes", name, c.card, c.rx, c.tx, c.sets)
		}
	}
}

// The loopback has no rings, and a port that is not there no driver.
func TestPortsWithoutRings(t *testing.T) {
	if _, changed, err := enlarge("lo", ethtool); changed || err != nil {
		t.Errorf("lo: %v, %v", changed, err)
	}
	if _, _, err := enlarge("nosuchport", ethtool); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no port: %v", err)
	}
}
