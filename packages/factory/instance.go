package factory

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// instance is config.json, the description of the gokrazy instance. Only the
// parts that a build changes are given types; the rest passes through.
type instance struct {
	raw      map[string]json.RawMessage
	programs []string
	config   map[string]map[string]any // PackageConfig
	gokrazy  []string
	env      []string
}

func readInstance(repository string) (*instance, error) {
	path := filepath.Join(repository, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &instance{}
	if err := json.Unmarshal(data, &c.raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for key, into := range map[string]any{
		"Packages": &c.programs, "PackageConfig": &c.config, "GokrazyPackages": &c.gokrazy, "Environment": &c.env,
	} {
		if err := json.Unmarshal(c.raw[key], into); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, key, err)
		}
	}
	return c, nil
}

func (c *instance) packages() []string { return slices.Concat(c.programs, c.gokrazy) }

// extend adds build tags to every program of ours and files from the build host
// to the root file system.
func (c *instance) extend(tags []string, extraFiles map[string]string) {
	for _, p := range c.programs {
		if len(tags) > 0 {
			c.config[p]["GoBuildTags"] = tags
		}
	}
	// gok takes extra files per program only; which one carries them is of no
	// consequence for the image.
	carrier := c.config[c.programs[0]]
	files, _ := carrier["ExtraFilePaths"].(map[string]any)
	if files == nil {
		files = map[string]any{}
	}
	for _, dst := range slices.Sorted(maps.Keys(extraFiles)) {
		files[dst] = extraFiles[dst]
	}
	carrier["ExtraFilePaths"] = files
}

// write puts the instance into dir, with the builddir through which gok finds
// the one go.mod of the repository.
func (c *instance) write(dir, repository string) error {
	config, err := json.Marshal(c.config)
	if err != nil {
		return err
	}
	raw := maps.Clone(c.raw)
	raw["PackageConfig"] = config
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(repository, filepath.Join(dir, "builddir")); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "config.json"), raw)
}
