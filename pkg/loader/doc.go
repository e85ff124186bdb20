// Package loader is how a push lands: it runs on the host and is the only code that changes one. It tells what the host
// has (Inventory) and carries a plan out (Apply): it feeds the engine an archive of the missing layers, proves that the
// image is whole, keeps the former one reachable, moves the name, and writes a receipt. By its receipts it tells what was
// placed (Status), takes it back (Rollback) or away (Remove).
//
// How bytes travel is not its business: the stage takes chunks from whoever has them, and a Feed yields blobs. Nor does it
// decide what is missing; that is manifest.Diff.
//
// Read Host first, then Apply, then Feed; journal.go is how several changes stay one.
package loader
