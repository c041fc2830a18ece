"""Start a process of the benchmarks, print its id, and wait to be killed."""

import time

from test_benchmarks import Counter

from benchmarks.remote import Remote

if __name__ == "__main__":
    remote = Remote(Counter, 0)
    print(remote.call("pid"), flush=True)
    time.sleep(600)
