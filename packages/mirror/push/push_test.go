package push

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// broker accepts one client after the other and hands each that has subscribed
// to the test.
func broker(t *testing.T) (addr string, subscribed <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ready := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(t, c, ready)
		}
	}()
	return l.Addr().String(), ready
}

func serve(t *testing.T, c net.Conn, ready chan<- net.Conn) {
	defer c.Close()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.SubscribePacket:
			if len(p.Topics) != 1 || p.Topics[0] != "rsync/rsync.example.net/+" {
				t.Errorf("subscribed to %q", p.Topics)
			}
			ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			ack.MessageID, ack.ReturnCodes = p.MessageID, []byte{0}
			ack.Write(c)
			ready <- c
		}
	}
}

func publish(t *testing.T, c net.Conn, topic string) {
	t.Helper()
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload = topic, []byte("x")
	if err := m.Write(c); err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestPushesArriveAlsoAfterALoss(t *testing.T) {
	addr, subscribed := broker(t)
	pushed := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Listen(ctx, Config{
			Broker: addr, Client: "node", Upstream: "rsync.example.net:8730",
			Pushed: func(topic string) { pushed <- topic }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}()
	c := receive(t, subscribed)
	publish(t, c, "rsync/other.example.net/debian")
	publish(t, c, "rsync/rsync.example.net/debian")
	if got := receive(t, pushed); got != "debian" {
		t.Errorf("pushed %q", got)
	}
	c.Close()
	c = receive(t, subscribed)
	publish(t, c, "rsync/rsync.example.net/fedora")
	if got := receive(t, pushed); got != "fedora" {
		t.Errorf("pushed %q", got)
	}
	cancel()
	receive(t, ended)
}

// A broker that is not there is told of once, however often it is tried.
func TestRefusalIsToldOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var log strings.Builder // written under a lock of Listen's
	refused := make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, Config{
			Broker: addr, Client: "node", Upstream: "rsync.example.net", Retry: 80 * time.Millisecond,
			Pushed: func(string) {}, Refused: func(err error) { refused <- err }, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
	}()
	for range 4 {
		receive(t, refused)
	}
	cancel()
	receive(t, ended)
	if n := strings.Count(log.String(), "no connection to the push broker"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

func TestAddress(t *testing.T) {
	for broker, want := range map[string]string{
		"mqtt.example.net": "tcp://mqtt.example.net:1883", "mqtt.example.net:99": "tcp://mqtt.example.net:99", "2001:db8::1": "tcp://[2001:db8::1]:1883",
	} {
		c := Config{Broker: broker}
		if got := c.address(); got != want {
			t.Errorf("address of %q = %q, want %q", broker, got, want)
		}
	}
}

// FuzzMessage hears what a broker may send: a topic of ours and a short name, or
// nothing.
func FuzzMessage(f *testing.F) {
	f.Add("rsync/rsync.example.net/debian", "rsync.example.net:873")
	f.Add("rsync/rsync.example.net/", "rsync.example.net")
	f.Add("rsync//debian", "")
	f.Add("rsync/2001:db8::1/debian", "[2001:db8::1]:873")
	f.Fuzz(func(t *testing.T, topic, upstream string) {
		c := Config{Upstream: upstream, Pushed: func(name string) {
			if len(name) >= 128 || "rsync/"+hostOnly(upstream)+"/"+name != topic {
				t.Errorf("topic %q of upstream %q pushed %q", topic, upstream, name)
			}
		}}
		c.message(topic)
	})
}
