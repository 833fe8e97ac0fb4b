"""The rows of `noisegate bench`, and beside them what other projects' libraries take for the same."""
