"""Use a mesh, and make another one, in a forked child; print the distance of a ray in each."""

import multiprocessing
import warnings

from test_mesh import KCL, PLAIN, ObstacleMesh, plain_course, rays


def drive(queue, mesh):
    origins, directions = rays([[0, 5, 0, -1, 0, 0]])
    fresh = ObstacleMesh(KCL.from_bytes(plain_course()))
    queue.put([float(m.distances(origins, directions, False)[0]) for m in (mesh, fresh)])


if __name__ == "__main__":
    # Python 3.12 warns about a fork beside threads, which is what this program tests.
    warnings.simplefilter("ignore", DeprecationWarning)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=drive, args=(queue, PLAIN))
    child.start()
    print(*queue.get(timeout=30))
    child.join(30)
    assert child.exitcode == 0
