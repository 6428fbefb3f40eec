"""deploy/kubernetes against what it stands on: Kubernetes' schemas, and the names, ports and paths of our own code.

Nothing here asks a cluster. `building` runs the real Kustomize, `check` tells what is wrong of what it built.
"""
