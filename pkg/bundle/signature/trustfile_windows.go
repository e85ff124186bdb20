package signature

import "os"

func machineConfig() string { return os.Getenv("ProgramData") }

// Access lists are not looked at.
func ours(string) bool { return true }

func writableByOthers(*os.File) (why, hint string) { return "", "" }
