// Go's flynn/noise as a peer of the bench, with the versions that its own go.mod asks for: with golang.org/x/crypto of
// 2026 its X25519 is Go's portable one, and takes twice as long.
module noisegate-bench-flynn

go 1.25.0

require github.com/flynn/noise v1.1.0

require (
	golang.org/x/crypto v0.0.0-20210322153248-0c34fe9e7dc2 // indirect
	golang.org/x/sys v0.0.0-20201119102817-f84b799fce68 // indirect
)
