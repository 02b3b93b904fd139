// A judge that shares no code with Reeve: golang.org/x/mod/sumdb (note and tlog) checks what a Reeve ledger wrote.
//
//	judge LEDGER-DIR PROOF-FILE RAW-FILE
//
// It opens the checkpoint with the verifier key, reads every entry and every tile and recomputes the root, proves each entry through the
// tiles, and checks a .tlog-proof down to the raw bytes with nothing but SHA-256 and tlog. Any doubt ends it with status 1.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/ioutil"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 4 {
		fail("usage: judge LEDGER-DIR PROOF-FILE RAW-FILE")
	}
	dir := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(filepath.Join(dir, "keys/checkpoint.vkey")))))
	check(err, "verifier key")
	tree := openCheckpoint(read(filepath.Join(dir, "log/checkpoint")), verifier)
	fmt.Printf("checkpoint of %d entries opens\n", tree.N)
	entries := readEntries(dir, tree)
	readTiles(dir, tree, entries)
	checkProof(string(read(os.Args[2])), read(os.Args[3]), verifier)
	fmt.Println("accepted")
}

// openCheckpoint verifies the note and reads origin, size and root.
func openCheckpoint(text []byte, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err, "checkpoint")
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		fail("origin %q is not the key's name", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "tree size")
	root, err := tlog.ParseHash(lines[2])
	check(err, "root")
	return tlog.Tree{N: size, Hash: root}
}

// readEntries reads the entry bundles and recomputes the root from the entries alone.
func readEntries(dir string, tree tlog.Tree) [][]byte {
	var entries [][]byte
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, index := range indexes {
			out = append(out, stored[index])
		}
		return out, nil
	})
	for n := int64(0); n < tree.N; n += 256 {
		width := tree.N - n
		if width > 256 {
			width = 256
		}
		bundle := read(tilePath(dir, "entries", n/256, int(width)))
		for i := int64(0); i < width; i++ {
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			more, err := tlog.StoredHashes(n+i, entry, hashes)
			check(err, "stored hashes")
			stored = append(stored, more...)
			entries = append(entries, entry)
		}
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	check(err, "tree hash")
	if root != tree.Hash {
		fail("the entries give root %v, the checkpoint says %v", root, tree.Hash)
	}
	fmt.Printf("%d entries give the signed root\n", len(entries))
	return entries
}

type tiles struct{ dir string }

func (t tiles) Height() int                            { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte)        {}
func (t tiles) ReadTiles(want []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range want {
		data = append(data, read(tilePath(t.dir, strconv.Itoa(tile.L), tile.N, tile.W)))
	}
	return data, nil
}

// readTiles proves every entry against the root with hashes that come from the tiles.
func readTiles(dir string, tree tlog.Tree, entries [][]byte) {
	reader := tlog.TileHashReader(tree, tiles{dir})
	for index, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		check(err, "prove from tiles")
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(entry)), "entry from tiles")
	}
	fmt.Println("every entry is proven through the tiles")
}

// checkProof checks a .tlog-proof: checkpoint, batch statement in the main log, leaf in the batch, raw bytes in the leaf.
func checkProof(proof string, raw []byte, verifier note.Verifier) {
	parts := strings.SplitN(proof, "\n\n", 2)
	if len(parts) != 2 {
		fail("the proof has no checkpoint")
	}
	tree := openCheckpoint([]byte(parts[1]), verifier)
	lines := strings.Split(parts[0], "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("not a tlog-proof: %q", lines[0])
	}
	extra := string(decode(after(lines[1], "extra ")))
	index, err := strconv.ParseInt(after(lines[2], "index "), 10, 64)
	check(err, "index")
	split := strings.SplitN(extra, "\nstatement\n", 2)
	statement := split[1]
	check(tlog.CheckRecord(hashes(lines[3:], ""), tree.N, tree.Hash, index, tlog.RecordHash([]byte(statement))), "batch statement in the main log")

	head := strings.Split(split[0], "\n")
	leaf, salt := decode(after(head[1], "leaf ")), decode(after(head[2], "salt "))
	records, err := strconv.ParseInt(field(statement, "records "), 10, 64)
	check(err, "records")
	root, err := tlog.ParseHash(field(statement, "root "))
	check(err, "batch root")
	leafIndex := int64(binary.BigEndian.Uint32(leaf[8:]))
	check(tlog.CheckRecord(hashes(starting(head[3:], "path "), "path "), records, root, leafIndex, tlog.RecordHash(leaf)), "leaf in the batch")

	rest := head[3+len(starting(head[3:], "path ")):]
	epochIndex, err := strconv.ParseInt(after(rest[0], "epoch "), 10, 64)
	check(err, "index of the epoch")
	way := starting(rest[1:], "epoch_path ")
	entry := decode(after(rest[1+len(way)], "epoch_entry "))
	check(tlog.CheckRecord(hashes(way, "epoch_path "), tree.N, tree.Hash, epochIndex, tlog.RecordHash(entry)), "epoch in the main log")
	if len(rest) != 2+len(way) {
		fail("something follows the epoch")
	}

	commitment := sha256.Sum256(bytes.Join([][]byte{[]byte("reeve-raw/v1\x00"), salt, raw}, nil))
	const before = 4 + 8 + 16 + 32 + 8 + 9 + 2
	if binary.BigEndian.Uint64(leaf[before:]) != uint64(len(raw)) || !bytes.Equal(leaf[before+8:before+40], commitment[:]) {
		fail("the leaf is not about these bytes")
	}
	fmt.Println("the record is proven")
}

func tilePath(dir, kind string, n int64, width int) string {
	name := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	if width < 256 {
		name += fmt.Sprintf(".p/%d", width)
	}
	return filepath.Join(dir, "log/tile", kind, name)
}

func hashes(lines []string, prefix string) (out []tlog.Hash) {
	for _, line := range lines {
		hash, err := tlog.ParseHash(after(line, prefix))
		check(err, "hash")
		out = append(out, hash)
	}
	return out
}

// starting gives the lines at the front that begin with prefix.
func starting(lines []string, prefix string) []string {
	for n, line := range lines {
		if !strings.HasPrefix(line, prefix) {
			return lines[:n]
		}
	}
	return lines
}

func field(text, name string) string {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, name) {
			return strings.TrimPrefix(line, name)
		}
	}
	fail("no %q in the batch statement", name)
	return ""
}

func after(line, prefix string) string {
	if !strings.HasPrefix(line, prefix) {
		fail("%q does not start with %q", line, prefix)
	}
	return line[len(prefix):]
}

func decode(text string) []byte {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	check(err, "base64")
	return data
}

func read(path string) []byte {
	data, err := ioutil.ReadFile(path)
	check(err, path)
	return data
}

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
