"""Mutation testing: finds small faults in the code that its unit tests do not notice.

A mutant is one edit of one module. It is compiled under the module's own name in a forked process,
which runs the tests of that module; the files on disk stay as they are. docs/testing.md is the
manual.
"""
