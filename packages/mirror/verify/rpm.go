package verify

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// repomdData is one <data> of repomd.xml.
type repomdData struct {
	Type     string `xml:"type,attr"`
	Checksum struct {
		Type string `xml:"type,attr"`
		Sum  string `xml:",chardata"`
	} `xml:"checksum"`
	Location location `xml:"location"`
	Size     *int64   `xml:"size"`
}

type location struct {
	Href string `xml:"href,attr"`
	Base string `xml:"base,attr"`
}

// repomd checks a repomd.xml, the files that it names, and the packages that
// primary names.
func (in *Input) repomd(i int) error {
	f, err := in.Open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	root := path.Dir(path.Dir(in.List.Name(i)))
	primary := -1
	err = elements(f, "data", func(d *xml.Decoder, start *xml.StartElement) error {
		var data repomdData
		if err := d.DecodeElement(&data, start); err != nil {
			return err
		}
		if data.Location.Base != "" {
			return nil // lies elsewhere
		}
		r := reference{size: -1}
		if data.Size != nil {
			r.size = *data.Size
		}
		if data.Checksum.Type == "sha256" {
			r.sha256 = data.Checksum.Sum
		}
		if r.name, err = within(root, data.Location.Href); err != nil {
			return err
		}
		e, err := in.need(r)
		if data.Type == "primary" {
			primary = e
		}
		return err
	})
	if err != nil || primary < 0 || !in.looks(primary) || cost(in.List.Base(primary)) == unreadable {
		return err
	}
	if err := in.primary(primary, root); err != nil {
		return fmt.Errorf("%q: %w", in.List.Name(primary), err)
	}
	return nil
}

// primaryPackage is one <package> of primary.xml.
type primaryPackage struct {
	Location location `xml:"location"`
	Checksum struct {
		Type string `xml:"type,attr"`
		Sum  string `xml:",chardata"`
	} `xml:"checksum"`
	Size struct {
		Package int64 `xml:"package,attr"`
	} `xml:"size"`
}

func (in *Input) primary(i int, root string) error {
	f, err := in.Open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := decompress(in.List.Base(i), f)
	if err != nil {
		return err
	}
	defer r.Close()
	return elements(r, "package", func(d *xml.Decoder, start *xml.StartElement) error {
		var p primaryPackage
		if err := d.DecodeElement(&p, start); err != nil {
			return err
		}
		if p.Location.Base != "" {
			return nil
		}
		name, err := within(root, p.Location.Href)
		if err != nil {
			return err
		}
		r := reference{name: name, size: p.Size.Package}
		if p.Checksum.Type == "sha256" {
			r.sha256 = strings.ToLower(strings.TrimSpace(p.Checksum.Sum))
		}
		_, err = in.need(r)
		return err
	})
}

// elements calls use for every element of that name.
func elements(r io.Reader, name string, use func(*xml.Decoder, *xml.StartElement) error) error {
	d := xml.NewDecoder(r)
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if s, ok := t.(xml.StartElement); ok && s.Name.Local == name {
			if err := use(d, &s); err != nil {
				return err
			}
		}
	}
}
