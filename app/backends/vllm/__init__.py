"""The vllm backend: models as vLLM loads them on GPUs, asked as lm-eval's VLLM asks them."""

from app.backends.backend import NEUTRAL, Backend, Shapes
from app.backends.memory_names import MemoryNames
from app.backends.remedies import Limit, server_remedies
from app.backends.vllm.architectures import ARCHITECTURES
from app.backends.vllm.arguments import arguments
from app.backends.vllm.files import file_faults, lacks
from app.backends.vllm.loading import PARALLELISM, is_settled, settle
from app.backends.vllm.scoring import apart, on_gpus
from app.backends.vllm.texts import TEXTS
from app.domain.ways_out import Levers

# More on devices of 70 GiB and more: 1024 and 16384. Half of these is less there, too.
LIMITS = {"max_num_seqs": Limit(256, 8), "max_num_batched_tokens": Limit(8192, 512)}

# fmt: off
HOW_ALONE = frozenset({
    # how the cache is laid out and kept; not in which numbers (kv_cache_dtype), nor how blocks are reduced (block_size)
    "kv_cache_memory_bytes", "num_gpu_blocks_override", "prefix_caching_hash_algo", "kv_cache_metrics",
    "kv_cache_metrics_sample",
    # who goes first, and how often others look
    "scheduling_policy", "async_scheduling", "stream_interval", "max_num_active_seqs", "max_num_queued_reqs",
    "max_num_queued_tokens", "scheduler_reserve_full_isl", "watermark",
    # how weights are read, kept and shared out; not as what (load_format: dummy)
    "safetensors_load_strategy", "safetensors_prefetch_num_threads", "safetensors_prefetch_block_size",
    "use_tqdm_on_load", "pt_load_map_location", "offload_backend", "offload_group_size", "offload_num_in_group",
    "offload_prefetch_step", "offload_params", "cpu_offload_params", "expert_placement_strategy", "numa_bind",
    "numa_bind_nodes", "numa_bind_cpus",
    # how long is waited, what is told
    "distributed_timeout_seconds", "cpu_distributed_timeout_seconds", "shutdown_timeout", "served_model_name",
    "aggregate_engine_logging", "log_level", "show_hidden_metrics_for_version", "collect_detailed_traces",
    "cudagraph_metrics", "enable_mfu_metrics", "enable_logging_iteration_details", "jit_monitor_mode",
    "jit_monitor_verbose", "enable_mm_processor_stats", "custom_histogram_buckets",
    # what lm-eval ignores
    "swap_space",
    # what the requests themselves tell, or the tokenizer's content, which counts by itself
    "chat_template_args", "enable_thinking", "tokenizer", "tokenizer_mode", "tokenizer_revision",
})
# fmt: on
"""Arguments of vLLM that no answer depends on beyond those of all backends. enforce_eager, compilation and the kernels'
backends choose other kernels, and chunked prefill and prefix caching other shapes for them: last bits may differ."""

MEMORY = MemoryNames(
    serves=True,
    lengths=("max_model_len", "max_length"),
    cache_dtype="kv_cache_dtype",
    utilization="gpu_memory_utilization",
    sequences="max_num_seqs",
    tokens="max_num_batched_tokens",
    quantization="quantization",
    levers=Levers(
        "max_model_len",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        cache_dtype=("kv_cache_dtype", "fp8"),
        fewer_bits=(("quantization", "fp8", "fp8"),),
    ),
)

BACKEND = Backend(
    name="vllm",
    model_names=("vllm",),
    lock="vllm.txt",
    imports=("vllm.entrypoints.llm", "lm_eval.models.utils"),
    versions=("vllm", "torch", "transformers", "lm_eval"),
    devices=frozenset({"cuda"}),
    arguments=arguments(),
    neutral=NEUTRAL | HOW_ALONE,
    parallelism=PARALLELISM,
    memory=MEMORY,
    settle=settle,
    is_settled=is_settled,
    files=file_faults,
    architectures=ARCHITECTURES,
    lacks=lacks,
    scoring=on_gpus,
    apart=apart,
    shapes=Shapes.VLLM,
    texts=TEXTS,
    remedy=server_remedies(LIMITS),
)
