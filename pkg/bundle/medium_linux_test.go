package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemovable(t *testing.T) {
	sys := t.TempDir()
	device := func(number, at, removable string) {
		t.Helper()
		dir := filepath.Join(sys, at)
		for _, d := range []string{dir, filepath.Join(sys, "dev", "block")} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if removable != "" {
			if err := os.WriteFile(filepath.Join(dir, "removable"), []byte(removable+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Join("..", "..", at), filepath.Join(sys, "dev", "block", number)); err != nil {
			t.Fatal(err)
		}
	}
	device("8:0", "devices/pci/ata1/block/sda", "0")
	device("8:1", "devices/pci/ata1/block/sda/sda1", "")
	device("8:16", "devices/pci/card/block/sdb", "1")
	device("8:17", "devices/pci/card/block/sdb/sdb1", "")
	device("8:33", "devices/pci/usb2/2-1/block/sdc/sdc1", "")
	device("253:0", "devices/virtual/block/dm-0", "0")
	device("253:1", "devices/virtual/block/dm-1", "0")
	for dm, below := range map[string]string{"dm-0": "devices/pci/card/block/sdb/sdb1", "dm-1": "devices/pci/ata1/block/sda/sda1"} {
		slaves := filepath.Join(sys, "devices/virtual/block", dm, "slaves")
		if err := os.MkdirAll(slaves, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(sys, below), filepath.Join(slaves, filepath.Base(below))); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		major, minor uint32
		want         bool
	}{
		"disk":                   {8, 0, false},
		"its partition":          {8, 1, false},
		"card":                   {8, 16, true},
		"partition of the card":  {8, 17, true},
		"disk on USB":            {8, 33, true},
		"encrypted on the card":  {253, 0, true},
		"encrypted on the disk":  {253, 1, false},
		"no block device at all": {0, 55, false},
	} {
		if got := isRemovable(sys, unix.Mkdev(c.major, c.minor)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
