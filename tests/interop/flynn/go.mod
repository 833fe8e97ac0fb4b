// Go's flynn/noise as a peer of tests/interop/test_noise_libraries.py: built and driven by that test, part of no release.
module github.com/noisegate/noisegate/tests/interop/flynn

go 1.25.0

require github.com/flynn/noise v1.1.0

require (
	golang.org/x/crypto v0.48.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
)
