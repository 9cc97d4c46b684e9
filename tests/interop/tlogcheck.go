// tlogcheck reads a log as c2sp.org/tlog-tiles has it, from a folder or over HTTP, and checks everything with code that is
// not ours: golang.org/x/mod/sumdb/note for notes, golang.org/x/mod/sumdb/tlog for trees and proofs, the libraries of Go's
// own checksum database.
//
// That library's TileHashReader accepts some corrupted tiles (it checks only the hashes that it uses). So every hash is
// computed here from the entries, and every tile compared with them byte for byte; only then are proofs made from the tiles.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// --- Where a log is read from ---

type source interface {
	read(path string) ([]byte, error)
}

type folder string

func (f folder) read(path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(f), path))
}

type server struct {
	prefix string
	client *http.Client
}

func (s *server) read(path string) ([]byte, error) {
	answer, err := s.client.Get(s.prefix + "/" + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return body, nil
}

func open(place string) source {
	if strings.HasPrefix(place, "http://") {
		return &server{prefix: strings.TrimSuffix(place, "/"), client: &http.Client{Timeout: 20 * time.Second}}
	}
	return folder(place)
}

// tilePath is the name that c2sp.org/tlog-tiles gives: Go's own has the height in it, and "data" for entries.
func tilePath(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), "tile/8/")
	if rest := strings.TrimPrefix(path, "data/"); rest != path {
		path = "entries/" + rest
	}
	return "tile/" + path
}

// --- Signatures ---

// cosigner verifies c2sp.org/tlog-cosignature/v1, which the library does not know: eight bytes of time, then Ed25519 over
// the time and the text.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("not a public key: %q", vkey)
	}
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, fmt.Errorf("not a key for cosignatures: %q", vkey)
	}
	id := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if binary.BigEndian.Uint32(id[:]) != uint32(hash) {
		return nil, fmt.Errorf("the key id of %q is not that of its key", vkey)
	}
	return &cosigner{name: parts[0], hash: uint32(hash), key: ed25519.PublicKey(key[1:])}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }
func (c *cosigner) Verify(message, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(signature))
	return ed25519.Verify(c.key, append([]byte(head), message...), signature[8:])
}

type checkpoint struct {
	origin string
	tlog.Tree
}

// openCheckpoint demands the log's signature and one of every cosigner.
func openCheckpoint(message []byte, logKey string, cosignerKeys []string) (*checkpoint, error) {
	verifier, err := note.NewVerifier(logKey)
	if err != nil {
		return nil, err
	}
	verifiers := []note.Verifier{verifier}
	for _, vkey := range cosignerKeys {
		found, err := newCosigner(vkey)
		if err != nil {
			return nil, err
		}
		verifiers = append(verifiers, found)
	}
	opened, err := note.Open(message, note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	for _, wanted := range verifiers {
		signed := false
		for _, signature := range opened.Sigs {
			signed = signed || (signature.Name == wanted.Name() && signature.Hash == wanted.KeyHash())
		}
		if !signed {
			return nil, fmt.Errorf("the checkpoint is not signed by %s", wanted.Name())
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return nil, fmt.Errorf("the checkpoint does not have three lines: %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || lines[1] != strconv.FormatInt(size, 10) {
		return nil, fmt.Errorf("not a size: %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return nil, err
	}
	if lines[0] != verifier.Name() {
		return nil, fmt.Errorf("the origin is %q, the key's name %q", lines[0], verifier.Name())
	}
	return &checkpoint{origin: lines[0], Tree: tlog.Tree{N: size, Hash: root}}, nil
}

// --- The tree, computed from the entries ---

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(h)) {
			return nil, fmt.Errorf("hash %d is not stored", index)
		}
		found[i] = h[index]
	}
	return found, nil
}

func splitBundle(bundle []byte, count int) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, fmt.Errorf("the bundle is cut off after %d entries", len(entries))
		}
		size := int(binary.BigEndian.Uint16(bundle))
		entries = append(entries, bundle[2:2+size])
		bundle = bundle[2+size:]
	}
	if len(entries) != count {
		return nil, fmt.Errorf("the bundle has %d entries, expected %d", len(entries), count)
	}
	return entries, nil
}

// readEntries gives the leaf hashes of all entries, and the hashes of the whole tree in the library's order.
func readEntries(from source, size int64) ([]tlog.Hash, hashes, error) {
	var leaves []tlog.Hash
	var stored hashes
	for first := int64(0); first < size; first += tileWidth {
		width := int64(tileWidth)
		if size-first < width {
			width = size - first
		}
		path := tilePath(tlog.Tile{H: tileHeight, L: -1, N: first / tileWidth, W: int(width)})
		bundle, err := from.read(path)
		if err != nil {
			return nil, nil, err
		}
		entries, err := splitBundle(bundle, int(width))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %v", path, err)
		}
		for i, entry := range entries {
			leaf := tlog.RecordHash(entry)
			more, err := tlog.StoredHashesForRecordHash(first+int64(i), leaf, stored)
			if err != nil {
				return nil, nil, err
			}
			leaves = append(leaves, leaf)
			stored = append(stored, more...)
		}
	}
	return leaves, stored, nil
}

// tilesOf lists the tiles of a tree: full ones, and at each level at most one that is partial. (The library's NewTiles lists
// every width that a growing tree has had.)
func tilesOf(size int64) []tlog.Tile {
	var found []tlog.Tile
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		count := size >> (tileHeight * level)
		for first := int64(0); first < count; first += tileWidth {
			width := int64(tileWidth)
			if count-first < width {
				width = count - first
			}
			found = append(found, tlog.Tile{H: tileHeight, L: level, N: first / tileWidth, W: int(width)})
		}
	}
	return found
}

// checkTiles compares every tile of a tree of that size with the hashes computed from the entries.
func checkTiles(from source, size int64, stored hashes, seen map[string]bool) error {
	for _, tile := range tilesOf(size) {
		path := tilePath(tile)
		if seen[path] {
			continue
		}
		seen[path] = true
		got, err := from.read(path)
		if err != nil {
			return err
		}
		want, err := tlog.ReadTileData(tile, stored)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s is not what the entries hash to", path)
		}
	}
	return nil
}

// checkPartial: every size that was once published keeps its partial tiles and its partial bundle.
func checkPartial(from source, size int64, stored hashes, leaves []tlog.Hash, seen map[string]bool) error {
	if err := checkTiles(from, size, stored, seen); err != nil {
		return fmt.Errorf("at size %d: %v", size, err)
	}
	width := size % tileWidth
	if width == 0 {
		return nil
	}
	path := tilePath(tlog.Tile{H: tileHeight, L: -1, N: size / tileWidth, W: int(width)})
	bundle, err := from.read(path)
	if err != nil {
		return err
	}
	entries, err := splitBundle(bundle, int(width))
	if err != nil {
		return fmt.Errorf("%s: %v", path, err)
	}
	for i, entry := range entries {
		if tlog.RecordHash(entry) != leaves[size-width+int64(i)] {
			return fmt.Errorf("%s: entry %d is another", path, i)
		}
	}
	return nil
}

// --- Proofs, from the tiles alone ---

type tiles struct{ from source }

func (t tiles) Height() int                         { return tileHeight }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := t.from.read(tilePath(tile))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func checkProofs(from source, tree tlog.Tree, sizes []int64, stored hashes, leaves []tlog.Hash) (int, error) {
	reader := tlog.TileHashReader(tree, tiles{from})
	count := 0
	for _, older := range sizes {
		if older < 1 || older > tree.N {
			continue
		}
		root, err := tlog.TreeHash(older, stored)
		if err != nil {
			return count, err
		}
		proof, err := tlog.ProveTree(tree.N, older, reader)
		if err == nil {
			err = tlog.CheckTree(proof, tree.N, tree.Hash, older, root)
		}
		if err != nil {
			return count, fmt.Errorf("consistency from %d to %d: %v", older, tree.N, err)
		}
		count++
	}
	chosen := rand.New(rand.NewSource(tree.N))
	indexes := []int64{0, tree.N / 2, tree.N - 1}
	for i := 0; i < 20; i++ {
		indexes = append(indexes, chosen.Int63n(tree.N))
	}
	for _, index := range indexes {
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err == nil {
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaves[index])
		}
		if err != nil {
			return count, fmt.Errorf("inclusion of %d in %d: %v", index, tree.N, err)
		}
		count++
	}
	return count, nil
}

// --- Receipts ---

func checkReceipt(path, logKey string, cosigners []string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, message, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "extra ") ||
		!strings.HasPrefix(lines[2], "index ") {
		return fmt.Errorf("%s is not a receipt with its entry", path)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	signed, err := openCheckpoint([]byte(message), logKey, cosigners)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, signed.N, signed.Hash, index, tlog.RecordHash(entry))
}

// --- The command ---

type list []string

func (l *list) String() string { return strings.Join(*l, ",") }
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func check(place, name, logKey string, cosigners []string, expected int64, sizes []int64, published bool) error {
	from := open(place)
	message, err := from.read(name)
	if err != nil {
		return err
	}
	signed, err := openCheckpoint(message, logKey, cosigners)
	if err != nil {
		return err
	}
	if expected >= 0 && signed.N != expected {
		return fmt.Errorf("the checkpoint's size is %d, expected %d", signed.N, expected)
	}
	leaves, stored, err := readEntries(from, signed.N)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(signed.N, stored)
	if err != nil {
		return err
	}
	if signed.N == 0 {
		root = sha256.Sum256(nil) // the library says all zeros, RFC 6962 the hash of nothing
	}
	if root != signed.Hash {
		return fmt.Errorf("the entries do not lead to the root that is signed")
	}
	seen := make(map[string]bool)
	if err := checkTiles(from, signed.N, stored, seen); err != nil {
		return err
	}
	for _, size := range sizes {
		if published && size < signed.N {
			if err := checkPartial(from, size, stored, leaves, seen); err != nil {
				return err
			}
		}
	}
	proofs := 0
	if signed.N > 0 {
		if proofs, err = checkProofs(from, signed.Tree, sizes, stored, leaves); err != nil {
			return err
		}
	}
	fmt.Printf("ok: %s, %d entries, %d tiles, %d proofs\n", signed.origin, signed.N, len(seen), proofs)
	return nil
}

func main() {
	var cosigners, sizesText list
	place := flag.String("log", "", "folder or http://… prefix")
	name := flag.String("checkpoint", "checkpoint", "name of the checkpoint")
	logKey := flag.String("key", "", "public key of the log")
	expected := flag.Int64("size", -1, "size that the checkpoint must have")
	published := flag.Bool("published", false, "demand the partial tiles of every -at below the checkpoint's size")
	receipt := flag.String("receipt", "", "check this receipt instead")
	flag.Var(&cosigners, "cosigner", "public key that must have cosigned, repeatable")
	flag.Var(&sizesText, "at", "older size to prove consistency from, repeatable")
	flag.Parse()
	var sizes []int64
	for _, text := range sizesText {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "tlogcheck:", err)
			os.Exit(2)
		}
		sizes = append(sizes, size)
	}
	var err error
	if *receipt != "" {
		err = checkReceipt(*receipt, *logKey, cosigners)
	} else {
		err = check(*place, *name, *logKey, cosigners, *expected, sizes, *published)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck:", err)
		os.Exit(1)
	}
}
