"""What the course measured: of itself, and of what is said about quantization.

    make bench              # all of it, written to docs/results.json and the pages that are made from it
    make bench PART=engine  # one part, printed only

Every ratio has both of its times from one run. `quality` and `facts` come out the same again, and a test
measures them anew; times are only reported.
"""
