"""A training on several pods: the trainer's own is the first host, a Job has the others.

The trainer's pod makes an Indexed Job with a headless Service (jobs.py), a TFJob (tf_jobs.py) or a
TrainJob with its TrainingRuntime (train_jobs.py), as kinds.py lists them, with a copy of its own
container in each pod (manifests.py). It waits until all of them can train, and trains as the first
of several hosts (trainer.py). So the chief's log, model and scalars are the task's, as without
fan-out. The other pods run node.py: they fetch the examples and train along. What ends them:

    the training's end, an error, SIGTERM    the trainer's pod deletes what it made
    the trainer's pod is killed              each pod sees that it has ended, and ends
    the trainer's pod is deleted             Kubernetes deletes what it owns

A pod that is evicted is made anew, and the training goes on from its last checkpoint.
"""
