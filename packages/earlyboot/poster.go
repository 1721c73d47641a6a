package earlyboot

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// post shows words alone on the screen, where lines of the kernel would hide them
// from somebody who has no keyboard to scroll with.
func (b *boot) post(words string) {
	if b.screen == "" {
		return
	}
	f, err := os.OpenFile(b.screen, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return // no screen; the serial console has had the line
	}
	defer f.Close()
	f.WriteString(poster(words))
}

const (
	posterWidth = 66
	posterClear = "\x1b[2J\x1b[4;1H" // leaves three lines free
	posterLeft  = "      "
)

// poster sets words in the upper left of an empty screen of any size from 80
// columns on.
func poster(words string) string {
	out, column := posterClear+posterLeft, 0
	for _, w := range strings.Fields(words) {
		switch {
		case column == 0:
		case column+1+len(w) > posterWidth:
			out, column = out+"\r\n\r\n"+posterLeft, 0
		default:
			out, column = out+" ", column+1
		}
		out, column = out+w, column+len(w)
	}
	return out + "\r\n\r\n"
}
