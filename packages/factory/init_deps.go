//go:build gokrazyinit

package factory

// gok writes the program /gokrazy/init itself when it builds the root file
// system. Naming what that program imports keeps its modules in go.mod.
import _ "github.com/gokrazy/gokrazy"
