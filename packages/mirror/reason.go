package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"micromirror/packages/rsync/client"
)

// explain turns what an upstream says when it lets nobody in, or not to this
// module, into one line that names the cause and what to do.
func explain(ctx context.Context, err error, cfg client.Config, project string) error {
	said := strings.ToLower(err.Error())
	at := fmt.Sprintf("upstream %s", cfg.Addr)
	field := func(name string) string { return fmt.Sprintf("%s of project %s in fleet.json", name, project) }
	switch refused := errors.Is(err, client.ErrRefused); {
	case refused && strings.Contains(said, "unknown module"):
		return fmt.Errorf("%s has no module %q, it is gone or renamed: correct %s%s: %w", at, cfg.Module, field("upstream.module"), similar(ctx, cfg), err)
	case refused && strings.Contains(said, "asks for a login"):
		return fmt.Errorf("%s asks for a password for module %q: set %s: %w", at, cfg.Module, field("upstream.user and upstream.password"), err)
	case refused && strings.Contains(said, "auth failed"):
		return fmt.Errorf("%s does not accept user %q for module %q: correct %s: %w", at, cfg.User, cfg.Module, field("upstream.user and upstream.password"), err)
	case refused && strings.Contains(said, "max connections"):
		return fmt.Errorf("%s is full and is asked again later: %w", at, err)
	case refused && strings.Contains(said, "access denied"):
		return fmt.Errorf("%s does not let this node's address in: ask its operators to allow it: %w", at, err)
	case errors.Is(err, client.ErrProtocol) && strings.Contains(said, "greeting"):
		return fmt.Errorf("%s speaks another protocol than rsync: correct %s: %w", at, field("upstream.host"), err)
	}
	return err
}

// similar names modules of the upstream that the one which is gone may have
// become.
func similar(ctx context.Context, cfg client.Config) string {
	modules, err := client.Modules(ctx, cfg)
	if err != nil {
		return ""
	}
	var names []string
	for _, m := range modules {
		a, b := strings.ToLower(m.Name), strings.ToLower(cfg.Module)
		near := client.Fuzzy(b, 1, 0, []client.Candidate{{Name: a, Size: 1, ModTime: 1}}) == 0
		if (near || strings.Contains(a, b) || strings.Contains(b, a)) && len(names) < 5 {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (it has " + strings.Join(names, ", ") + ")"
}
