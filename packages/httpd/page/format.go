package page

import (
	"html"
	"strconv"
	"strings"
)

// AppendSize writes a size as people read it: "512 B", "1.5 KiB", "3.2 TiB".
func AppendSize(b []byte, n int64) []byte {
	if n < 1024 {
		b = strconv.AppendInt(b, n, 10)
		return append(b, " B"...)
	}
	units := "KMGTPE"
	size := float64(n) / 1024
	for size >= 1023.95 && len(units) > 1 {
		size /= 1024
		units = units[1:]
	}
	b = strconv.AppendFloat(b, size, 'f', 1, 64)
	return append(b, ' ', units[0], 'i', 'B')
}

// AppendGrouped writes a number with its thousands apart: "1,234,567".
func AppendGrouped(b []byte, n int64) []byte {
	digits := strconv.FormatInt(n, 10)
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b = append(b, ',')
		}
		b = append(b, digits[i])
	}
	return b
}

// contactLink makes a link of a mail address or URL.
func contactLink(contact string) string {
	href := contact
	if strings.Contains(contact, "@") && !strings.Contains(contact, ":") {
		href = "mailto:" + contact
	}
	return `<a href="` + html.EscapeString(href) + `">` + html.EscapeString(contact) + "</a>"
}
