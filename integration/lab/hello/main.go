// Hello is the program in every image that the lab builds. It prints a greeting and the message that the image's top
// layer carries, so that running a container proves that its layers are there. "hello sum DIR" prints instead one sha256
// over the names and contents of all files below DIR: it proves that they are right.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	say := greet
	if len(os.Args) == 3 && os.Args[1] == "sum" {
		say = func() error { return sum(os.Args[2]) }
	}
	if err := say(); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func greet() error {
	message, err := os.ReadFile("/etc/lab/message")
	if err != nil {
		return err
	}
	fmt.Printf("hello from %s\n", message)
	return nil
}

func sum(dir string) error {
	h := sha256.New()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files++
		fmt.Fprintf(h, "%s\n", path)
		_, err = io.Copy(h, f)
		return err
	})
	if err == nil {
		fmt.Printf("%d files %x\n", files, h.Sum(nil))
	}
	return err
}
