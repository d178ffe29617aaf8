"""What workers say that miss another one, as TensorFlow has it."""

# What TensorFlow 2.16 says where a worker was stopped by SIGSTOP, and where one's host was killed.
NO_HEARTBEAT = (
    "{{function_node __inference_<lambda>_18469}} Collective ops is aborted by: Error reported "
    "from /job:worker/task:1: Task /job:worker/replica:0/task:1 heartbeat timeout. This indicates"
)
RESET = (
    "{{function_node __inference_<lambda>_18522}} Collective ops is aborted by: Connection reset "
    "by peer Additional GRPC error information from remote target /job:worker/replica:0/task:1 "
    "while calling /tensorflow.WorkerService/CompleteInstance"
)
