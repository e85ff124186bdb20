//go:build linux

package loader

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// maxReceipt caps the size of a receipt that is read, in bytes.
const maxReceipt = 8 << 20

var receiptID = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$`)

const receiptTime = "20060102T150405Z"

// newReceiptID makes an ID that sorts by time, to the microsecond, and that no other push has: five hexadecimal digits of
// microseconds, three that are random.
func newReceiptID(now time.Time) string {
	var nonce [2]byte
	rand.Read(nonce[:]) // never fails
	return fmt.Sprintf("%s-%05x%03x", now.UTC().Format(receiptTime), now.Nanosecond()/1000, binary.BigEndian.Uint16(nonce[:])>>4)
}

func (h *Host) newReceipt(p manifest.Plan) manifest.Receipt {
	now := time.Now().UTC()
	return manifest.Receipt{
		ID: h.nextID(now), Tool: h.tool, Session: p.Session, From: manifest.Plain(p.From),
		User: userName(), Host: hostName(), Engine: h.Engine(), Started: now, Provenance: plainProvenance(p.Provenance),
	}
}

// nextID makes an ID that sorts behind all that are there, also when the clock was set back since: the newest is what a
// rollback takes back, and what stays when former states are pruned.
func (h *Host) nextID(now time.Time) string {
	id := newReceiptID(now)
	entries, _ := os.ReadDir(h.receiptDir()) // that there is none yet is no failure, any other is told by whoever reads them
	for _, e := range slices.Backward(entries) {
		last, isJSON := strings.CutSuffix(e.Name(), ".json")
		if !isJSON || !receiptID.MatchString(last) {
			continue
		}
		if at, err := time.Parse(receiptTime, last[:strings.IndexByte(last, '-')]); err == nil && last >= id {
			id = newReceiptID(at.Add(time.Second))
		}
		break
	}
	return id
}

// plainProvenance makes a bundle's claims safe to print.
func plainProvenance(p *manifest.Provenance) *manifest.Provenance {
	if p == nil {
		return nil
	}
	plain := *p
	for _, text := range []*string{&plain.Application, &plain.Version, &plain.Base, &plain.Signer, &plain.Key} {
		*text = manifest.Plain(*text)
	}
	return &plain
}

// record writes the receipt to the state folder. That the names were moved cannot be undone by a full disk, so a failure
// becomes a warning in r, and r.Path stays empty.
func (h *Host) record(r *manifest.Receipt) {
	r.Finished = time.Now().UTC()
	r.Path = filepath.Join(h.receiptDir(), r.ID+".json")
	raw, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = writeWhole(r.Path, append(raw, '\n'))
	}
	if err != nil {
		r.Path = ""
		r.Warnings = append(r.Warnings, "no receipt was written: "+err.Error())
	}
}

func (h *Host) receiptDir() string { return filepath.Join(h.dir, "receipts") }

// Receipts returns the receipts of all pushes to this host, newest first. Files that are no receipts are passed over; of one that
// cannot be read a status warns.
func (h *Host) Receipts() ([]manifest.Receipt, error) { return h.newestReceipts(math.MaxInt) }

// newestReceipts returns at most limit receipts, newest first: there may be years of them.
func (h *Host) newestReceipts(limit int) ([]manifest.Receipt, error) {
	entries, err := os.ReadDir(h.receiptDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, stageFailure("read receipts", err)
	}
	var receipts []manifest.Receipt
	for _, e := range slices.Backward(entries) {
		id, isJSON := strings.CutSuffix(e.Name(), ".json")
		if !isJSON || !receiptID.MatchString(id) {
			continue
		}
		if len(receipts) == limit {
			break
		}
		r, err := h.ReceiptByID(id)
		if err != nil {
			h.say(fmt.Sprintf("a receipt cannot be read, and what it tells does not count: %v", err))
			continue
		}
		receipts = append(receipts, r)
	}
	return receipts, nil
}

// LastReceipt returns the newest receipt. It fails with KindNotFound when there is none.
func (h *Host) LastReceipt() (manifest.Receipt, error) {
	all, err := h.Receipts()
	if err == nil && len(all) == 0 {
		err = manifest.Fail(manifest.KindNotFound, "read receipt", "nothing was pushed to this host yet")
	}
	if err != nil {
		return manifest.Receipt{}, err
	}
	return all[0], nil
}

// ReceiptByID returns one receipt. It fails with KindNotFound when there is none of that ID.
func (h *Host) ReceiptByID(id string) (manifest.Receipt, error) {
	var r manifest.Receipt
	if !receiptID.MatchString(id) {
		return r, manifest.Fail(manifest.KindNotFound, "read receipt", "%.50q is no receipt's ID", id)
	}
	f, err := os.Open(filepath.Join(h.receiptDir(), id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, manifest.Fail(manifest.KindNotFound, "read receipt", "there is no receipt %s", id)
	}
	if err != nil {
		return r, stageFailure("read receipt", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxReceipt)).Decode(&r); err != nil {
		return r, manifest.Fail(manifest.KindMalformed, "read receipt", "%s: %w", id, err)
	}
	r.ID, r.Path = id, f.Name()
	return r, nil
}

// writeWhole writes a file for this user alone. It is there whole and on the disk, or not at all.
func writeWhole(path string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir last. Where folders cannot be synced the rename has to do.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}
