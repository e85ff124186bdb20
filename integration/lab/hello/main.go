// Hello is the program in every image that the lab builds. It prints a greeting and the message that the image's top
// layer carries, so that running a container proves that its layers are there.
package main

import (
	"fmt"
	"os"
)

func main() {
	message, err := os.ReadFile("/etc/lab/message")
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
	fmt.Printf("hello from %s\n", message)
}
