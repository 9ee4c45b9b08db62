"""The test bed: real servers as plain processes on loopback, without a container engine.

A part is one file. What it needs is fetched or built once and kept, by the hash of its sources, in
`${XDG_CACHE_HOME:-~/.cache}/serinus-bed`. Parts are started on free ports and belong to somebody: a test, a
run of pytest, or `make bed`. Linux only: a process is known by what /proc says of it.
"""
