"""The parts of an application that its settings describe, and the protocols by which other rooms know it."""
