"""One suite for the SDKs of all languages.

Cases are data (`tests/conformance/cases`). For each language a driver, a small program of its own, is told what to call
by lines of JSON and answers with what its SDK gave (`driver.py` has the protocol). Everything else is here: the
service, the proxies on the way to it, and the players at the far end, who share no line of cryptography with it.

`python -m tests.conformance.suite` runs every language over every case and prints a table.
"""
