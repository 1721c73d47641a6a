// Package push listens for upstream's word that a project has changed.
//
// The word is an MQTT message, QoS 0, whose topic is rsync/<upstream>/<topic>;
// what it says does not matter. Promise: Listen calls back for each message
// about the fleet's upstream, as long as the broker can be reached, and tries to
// reach it for ever, with growing pauses. A broker that is gone, slow or hostile
// costs nothing but the pushes: messages are bounded in size and callbacks must
// not block. The daily run does not depend on it.
//
// Port 1883, or 8883 with TLS, is connected to. No files.
package push

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Config says whom to listen to.
type Config struct {
	// Broker is host or host:port.
	Broker string
	// TLS is nil for a plain connection.
	TLS *tls.Config
	// Client is the name to log in with, one for each node.
	Client string
	// Upstream is the second element of the topics, without a port.
	Upstream string
	// Pushed is called with the third.
	Pushed func(topic string)
	// Retry is the longest pause between two attempts to connect; 0 means two
	// minutes.
	Retry time.Duration
	// Refused is told of attempts that fail; it may be nil.
	Refused func(error)
	Log     *slog.Logger
}

// Listen works until the context ends.
func Listen(ctx context.Context, c Config) error {
	filter := "rsync/" + hostOnly(c.Upstream) + "/+"
	o := mqtt.NewClientOptions().AddBroker(c.address()).SetClientID(c.Client).SetCleanSession(true)
	if c.TLS != nil {
		o.SetTLSConfig(c.TLS)
	}
	retry := cmp.Or(c.Retry, 2*time.Minute)
	o.SetConnectRetry(true).SetConnectRetryInterval(retry / 8).SetAutoReconnect(true).SetMaxReconnectInterval(retry)
	o.SetKeepAlive(time.Minute).SetPingTimeout(20 * time.Second).SetConnectTimeout(20 * time.Second).SetWriteTimeout(20 * time.Second)
	o.SetOrderMatters(false)
	var on listening
	refusal := "" // the last one told of
	o.SetOnConnectHandler(func(m mqtt.Client) {
		m.Subscribe(filter, 0, func(_ mqtt.Client, msg mqtt.Message) { on.do(func() { c.message(msg.Topic()) }) })
		on.do(func() {
			refusal = ""
			c.Log.Info("listening for pushes", "broker", c.Broker, "topic", filter)
		})
	})
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		on.do(func() { c.Log.Info("lost the push broker", "broker", c.Broker, "err", err) })
	})
	o.SetConnectionNotificationHandler(func(_ mqtt.Client, n mqtt.ConnectionNotification) {
		failed, ok := n.(mqtt.ConnectionNotificationBrokerFailed)
		if !ok {
			return
		}
		on.do(func() {
			if text := failed.Reason.Error(); text != refusal { // the same again and again tells nothing
				refusal = text
				c.Log.Warn("no connection to the push broker", "broker", c.Broker, "err", text)
			}
			if c.Refused != nil {
				c.Refused(failed.Reason)
			}
		})
	})
	client := mqtt.NewClient(o)
	client.Connect() // retries by itself
	<-ctx.Done()
	on.end()
	client.Disconnect(0)
	return context.Cause(ctx)
}

// listening lets callbacks through as long as Listen has not returned: goroutines
// of the client may be behind.
type listening struct {
	mu    sync.Mutex
	ended bool
}

func (l *listening) do(callback func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		callback()
	}
}

func (l *listening) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// address is the broker's URL.
func (c *Config) address() string {
	scheme, port := "tcp", "1883"
	if c.TLS != nil {
		scheme, port = "ssl", "8883"
	}
	if _, _, err := net.SplitHostPort(c.Broker); err != nil {
		return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(c.Broker, port))
	}
	return fmt.Sprintf("%s://%s", scheme, c.Broker)
}

func (c *Config) message(topic string) {
	if rest, ok := strings.CutPrefix(topic, "rsync/"+hostOnly(c.Upstream)+"/"); ok && len(rest) < 128 {
		c.Pushed(rest)
	}
}

func hostOnly(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
