"""Plays Kubeflow Pipelines on this machine: driver, launcher and metadata of a compiled file.

Modelled from github.com/kubeflow/pipelines, tags 2.4.0 and 2.17.0, read as text; no code is taken.
Paths below are of backend/src/v2 there. What differs between the two is in dialects.py.

    compiled.py   compiler/argocompiler/argo.go: defaults of the pipeline's parameters; retries of
                  a task (container.go; 2.4 knows none)
    driver.py     driver/driver.go and resolve.go: a task's inputs, with the checks of their types;
                  `provisionOutputs`: addresses `<root>/<pipeline>/<run>/<task>/<uuid>/<output>`
    cache.py      cacheutils/cache.go and driver/cache.go: the fingerprint, byte by byte
    placeholders.py  component/launcher_v2.go: `{{$}}` and the others
    launcher.py   component/launcher_v2.go: download, run, `executor_output.json`, upload, merge;
                  objectstore/object_store.go: files only, an empty folder is not stored
    metadata.py   metadata/client.go and converter.go: what MLMD keeps of an artifact, and that it
                  comes back without its type

    run.py        Argo's workflow/controller/operator.go, `processNodeRetries`: waits between
                  tries and their end
    placeholders.py  the kubelet's `$(NAME)` and `$$` too (third_party/forked/golang/expansion)

Not played: importers, nested graphs, loops, conditions (refused), resolvers (KFP itself refuses
them), Argo's parallel tasks (one at a time here), resources and nodes, pods' users and rights. A
pod here is a fresh process with an empty working folder, an empty home and folders for `/minio`,
`/s3`, `/gcs` of its own; the rest of the machine's disk it can see.
"""
