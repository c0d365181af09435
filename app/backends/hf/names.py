"""What lm-eval's HFLM, transformers and bitsandbytes take from a job, by name, in the versions that hf.txt pins.

`tests/backends/hf_names.py` prints the lists in the backend's environment; a test compares them.
"""

from __future__ import annotations


def names_in(text: str) -> frozenset[str]:
    """Words with blanks between."""
    return frozenset(text.split())


CONSTRUCTOR = names_in(
    """
    add_bos_token autogptq backend batch_size chat_template_args delta device dtype enable_thinking
    gguf_file gptqmodel logits_cache max_batch_size max_cpu_memory max_length max_memory_per_gpu
    mixed_precision_dtype offload_folder parallelize peft prefix_token_id pretrained revision
    softmax_dtype subfolder think_end_token tokenizer tp_plan truncation trust_remote_code
    use_fast_tokenizer
"""
)
"""Parameters of `HFLM.__init__`."""

LOADING = names_in(
    """
    adapter_kwargs adapter_name allow_all_kernels attn_implementation cache_dir code_revision config
    device_map device_mesh disable_mmap distributed_config dtype experts_implementation force_download
    from_flax from_tf fusion_config generation_config gguf_file ignore_mismatched_sizes kernel_config
    key_mapping local_files_only low_cpu_mem_usage max_memory mirror offload_buffers offload_folder
    offload_state_dict output_loading_info pretrained_model_name_or_path proxies quantization_config
    revision state_dict subfolder token torch_dtype tp_plan tp_size tqdm_class trust_remote_code
    use_kernels use_safetensors variant weights_only
"""
)
"""What `from_pretrained` of a model takes for itself."""

QUANTIZING = names_in(
    """
    bnb_4bit_compute_dtype bnb_4bit_quant_storage bnb_4bit_quant_type bnb_4bit_use_double_quant
    llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight llm_int8_skip_modules llm_int8_threshold
    load_in_4bit load_in_8bit
"""
)
"""Of `BitsAndBytesConfig`; see workers/engine_child/hf/quantized.py."""

GENERATION = names_in(
    """
    assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight assistant_lookbehind
    bad_words_ids begin_suppress_tokens bos_token_id cache_config cache_implementation compile_config
    constraints continuous_batching_config decoder_start_token_id disable_compile diversity_penalty
    do_sample dola_layers early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty
    eos_token_id epsilon_cutoff eta_cutoff exponential_decay_length_penalty force_words_ids
    forced_bos_token_id forced_eos_token_id guidance_scale is_assistant length_penalty low_memory
    max_cache_len max_length max_matching_ngram_size max_new_tokens max_time min_length min_new_tokens
    min_p no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups
    num_beams num_return_sequences output_attentions output_hidden_states output_logits output_scores
    pad_token_id penalty_alpha prefill_chunk_size prompt_lookup_num_tokens remove_invalid_values
    renormalize_logits repetition_penalty return_dict_in_generate sequence_bias speculation_type
    stop_strings suppress_tokens target_lookbehind temperature token_healing top_h top_k top_p
    transformers_version typical_p use_cache use_mtp watermarking_config
"""
)
"""Of `GenerationConfig`: what `generate` takes for itself."""

FORWARD = names_in(
    """
    cu_seq_lens_k cu_seq_lens_q is_causal max_length_k max_length_q num_items_in_batch output_attentions
    output_hidden_states output_router_logits position_ids seq_idx
"""
)
"""What every model's forward pass takes, and `generate` hands on."""

CONFIG = names_in(
    """
    H_cycles L_bp_cycles L_cycles acoustic_tokenizer_chunk_size acoustic_tokenizer_encoder_config
    activation activation_dropout activation_function activation_sparsity_pattern adapter_layer_norm
    adapter_rank adapter_reduction_factor adapter_reuse_layer_norm adaptor_dropout adaptor_input_dim
    adaptor_kernel_size adaptor_stride add_adapter add_bias_linear add_cross_attention add_out_norm
    add_router_probs afn alibi allow_global_per_layer_attribute_access altup_active_idx altup_coef_clip
    altup_correct_scale altup_num_inputs apply_residual_connection_post_layernorm apply_spec_augment
    architectures asm attention_bias attention_chunk_size attention_dropout attention_head_dim
    attention_head_size attention_heads attention_hidden_size attention_in_multiplier attention_k_eq_v
    attention_layers attention_multiplier attention_out_bias attention_out_multiplier
    attention_probs_dropout_prob attention_softmax_in_fp32 attention_type attention_types
    attention_value_scale attention_window attention_window_size attn_config attn_layer_indices
    attn_layer_offset attn_layer_period attn_layers attn_logit_softcapping attn_pdrop attn_scale
    attn_temperature_tuning attn_type attribute_map audio_bos_token_id audio_chunk_size audio_config
    audio_encoder audio_encoder_config audio_eos_token_id audio_frame_step audio_length_per_tok
    audio_merge_size audio_soft_tokens_per_image audio_token_id audio_token_index audio_vocab_size
    autocast_kernel_dtype aux_loss_coef axial_norm_std axial_pos_embds axial_pos_embds_dim
    axial_pos_shape backbone_hidden_size base_config_key base_model_ep_plan base_model_fsdp_plan
    base_model_pp_plan base_model_tp_plan batch_prioritized_routing begin_suppress_tokens bi_data bias
    block_auto_adjust_ff_dim block_ffn_dim_multiplier block_multiple_of block_size block_types
    boa_token_id boi_token_id boi_token_index bos_token_id causal cca_time0 cca_time1
    centroid_intermediate_top_k chain_hidden_post_norm char_vocab_size chroma_length chunk_size
    chunk_size_feed_forward chunk_size_lm_head chunkwise_kernel clamp_len classifier_activation
    classifier_bias classifier_dropout classifier_dropout_prob classifier_dropout_rate
    classifier_proj_size clip_qkv cls_token_id compress_rates compress_rope_theta concat_input
    context_length conv1d_width conv_L_cache conv_bias conv_depthwise_kernel_size conv_kernel
    conv_kernel_size cross_attention_hidden_size cross_attn_k d_ff d_head d_inner d_kv d_model d_rel
    decoder decoder_attention_heads decoder_bias decoder_config decoder_ffn_dim decoder_layerdrop
    decoder_layers decoder_sparse_step decoder_start_token_id decoder_vocab_size default_compress_rates
    default_language default_num_delay_tokens default_num_hash_layers default_partial_rotary_factor
    default_rope_type default_theta dense_act_fn dense_intermediate_size depth_decoder_config dff dim_ff
    dim_head dim_model_base disable_ngram_loss do_layer_norm_before downsample_factor downsample_rate
    dropout dropout_p dropout_rate dtype early_stopping emb_dim emb_pdrop embd_pdrop embed_dropout
    embed_init_std embedding_dim embedding_dropout embedding_fraction embedding_initializer_range
    embedding_multiplier embedding_scale embedding_size enable_bias enable_moe_block
    enable_moe_fp32_combine enable_pronunciation enable_shape encoder encoder_attention_heads
    encoder_attention_type encoder_config encoder_ffn_dim encoder_hash_byte_group_nb_functions
    encoder_hash_byte_group_size encoder_hash_byte_group_vocab encoder_layerdrop encoder_layers
    encoder_no_repeat_ngram_size encoder_sparse_step end_n_top eoa_token_id eoa_token_index eod_token_id
    eoi_token_id eoi_token_index eos_token_id eps expand expansion_ratio expert_capacity
    expert_ffn_hidden_size expert_layer_offset expert_layer_period expert_selection_fn
    extra_config_files extra_files feature_projection_input_dim feed_forward_proj feed_forward_size
    ff_activation ffn_config ffn_dim ffn_hidden_size ffn_proj_factor ffn_round_up_to_multiple_of
    final_logit_softcapping final_w_init_variance_scale first_k_dense_replace floor_scale
    forced_eos_token_id full_attn_alpha_factor full_attn_beta_factor full_attn_idxs gate_soft_cap
    gated_norm_rank gating gelu_activation global_attn_every_n_layers global_block_size global_config
    has_lora_adapter hash_seed hc_count hc_eps hc_lowrank hc_magnitude hc_mult hc_sinkhorn_iters
    head_dim heads_per_ngram hidden_act hidden_activation hidden_dropout hidden_dropout_prob
    hidden_mamba_act hidden_size hidden_size_per_layer_input hybrid_layer_ids hybrid_override_pattern
    id2label ignore_keys_at_rope_validation image_seq_length image_size image_token_id image_token_index
    index_block_size index_head_dim index_local_blocks index_n_heads index_topk index_topk_blocks
    indexer_budget indexer_compress_ratio indexer_head_dim indexer_kv_heads indexer_n_heads
    indexer_types inference_state_dtype init_device init_std initializer_cutoff_factor
    initializer_factor initializer_range input_embedding_size input_jitter_noise
    interleave_moe_layer_step intermediate_multiple_size intermediate_size intermediate_size_mlp
    is_decoder is_encoder is_encoder_decoder is_gated_act is_heterogeneous is_moe kda_lower_bound
    kda_safe_gate keep_window_size key_multiplier keys_to_ignore_at_inference kv_channels kv_lora_rank
    kv_sharing_modes label2id lambda_std_dev lang_embed_dim lang_id langs languages laurel_rank
    layer_group_size layer_norm_elementwise_affine layer_norm_eps layer_norm_epsilon layer_rope_theta
    layer_types layerdrop layernorm_embedding layers_block_type layers_num_experts leaky_relu_slope
    learnable_sink_init learned_pos_emb left_max_position_embeddings length_penalty linear_a_log_max
    linear_a_log_min linear_allow_neg_eigval linear_attn_alpha_factor linear_attn_beta_factor
    linear_conv_kernel_dim linear_dt_init_floor linear_dt_max linear_dt_min linear_head_dim
    linear_key_head_dim linear_num_heads linear_num_key_heads linear_num_value_heads
    linear_value_head_dim lm_head_bias lm_head_multiplier ln_before_adapter local_attention
    local_attention_probs_dropout_prob local_attention_window_len local_attn_chunk_length
    local_layer_ids local_num_chunks_after local_num_chunks_before local_radius log_scaling_alpha
    log_scaling_n_floor logit_scale logits_mup_width_multiplier logits_scaling logits_soft_cap lru_width
    lsh_attention_probs_dropout_prob lsh_attn_chunk_length lsh_num_chunks_after lsh_num_chunks_before
    make_ngram_vocab_size_divisible_by mamba_chunk_size mamba_conv_bias mamba_d_conv mamba_d_head
    mamba_d_ssm mamba_d_state mamba_dt_rank mamba_expand mamba_head_dim mamba_headdim mamba_hidden_act
    mamba_n_groups mamba_n_heads mamba_ngroups mamba_norm_before_gate mamba_num_heads mamba_proj_bias
    mamba_rms_norm mamba_ssm_cache_dtype mask_feature_length mask_feature_min_masks mask_feature_prob
    mask_index mask_time_length mask_time_min_masks mask_time_prob mask_token_id
    max_decoder_position_embeddings max_encoder_position_embeddings max_inference_chunksize max_length
    max_new_tokens max_patch_length max_position_embeddings max_seq_len max_source_positions
    max_target_positions max_window_layers median_filter_width mem_len mixer_rms_eps mlp_alpha_factor
    mlp_beta_factor mlp_bias mlp_dropout mlp_gate_softcap mlp_hidden_act mlp_layer_types mlp_multipliers
    mlp_only_layers mlp_up_softcap mm_tokens_per_image mode model_max_length model_type
    moe_apply_router_weight_on_input moe_eval_capacity_token_fraction moe_intermediate_size moe_k
    moe_latent_size moe_layer_end_index moe_layer_interval moe_layer_start_index moe_layers moe_norm_min
    moe_num_experts moe_num_shared_experts moe_renormalize moe_routed_scaling_factor
    moe_router_logit_softcapping moe_shared_expert_intermediate_size moe_shared_expert_overlap
    moe_token_dropout moe_topk mtp_hidden_states_first mtp_hybrid_override_pattern mtp_layer_types
    mtp_layers_block_type mtp_local_layer_ids mtp_loss_scaling_factor mtp_mlp_layer_types multi_query
    mup_enabled n_ctx n_embd n_group n_groups n_head n_heads n_inner n_langs n_layer n_layers
    n_layers_per_attn_res_block n_mamba_heads n_positions n_routed_experts n_shared_experts name_or_path
    new_decoder_architecture ngram ngram_size ngram_vocab_size_base no_bias no_rope_layer_interval
    no_rope_layers norm_bias norm_eps norm_epsilon norm_reduction_force_float32 norm_topk_prob norm_type
    normalize_router_prob_before_dropping num_adapter_layers num_attention_heads
    num_attention_heads_per_layer num_beams num_blocks num_buckets num_centroids num_channels num_chroma
    num_codebooks num_conv_pos_embedding_groups num_conv_pos_embeddings num_decoder_attention_heads
    num_decoder_layers num_dense_layers num_encoder_attention_heads num_encoder_layers num_expert_group
    num_experts num_experts_per_tok num_experts_per_token num_global_tokens num_hashes num_heads
    num_hidden_layers num_image_with_embedding num_key_value_heads num_kv_heads num_kv_shared_layers
    num_labels num_layers num_layers_per_stack num_ln_in_parallel_attn num_local_experts
    num_logits_to_keep num_mel_bins num_mem_blocks num_mtp_layers num_nextn_predict_layers
    num_query_groups num_random_blocks num_shared_experts num_sparse_decoder_layers
    num_sparse_encoder_layers number_of_conv_states o_groups o_lora_rank
    original_max_position_embeddings output_attentions output_embedding_size output_gate_type
    output_hidden_states output_logit_soft_cap output_router_logits pad_token_id parallel_attn
    partial_rotary_factor patch_in_forward patch_size patcher_config patching_batch_size patching_mode
    patching_threshold per_layer_attributes per_layer_config ple_conv_kernel_size ple_embed_dim
    ple_layer_ids pooling position_bias_max_distance position_bias_num_buckets position_embedding_type
    position_embeddings_type pre_norm prefix_dense_intermediate_size prefix_dense_sliding_window_pattern
    prefix_lm pretraining_tp problem_type projector_bias projector_config projector_hidden_act
    projectors_bias prompt_length prompt_mid_dim prompt_types pronunciation_embed_dim
    pronunciation_vocab_size q_lora_rank qk_dim qk_dim_factor qk_head_dim qk_l2_clip_threshold
    qk_layernorm qk_nope_head_dim qk_rope_head_dim qkv_bias query_pre_attn_scalar rel_extent
    rel_l2_clip_threshold relative_attention_max_distance relative_attention_num_buckets
    relative_max_distance reorder_and_upcast_attn resblock_dilation_sizes resblock_kernel_sizes
    rescale_embeddings rescale_every rescale_prenorm_residual resid_dropout resid_pdrop residual_dropout
    residual_in_fp32 residual_multiplier return_dict return_last_states reuse_len
    right_max_position_embeddings rms_norm_eps rms_norm_eps_moe_gate rope_interleave rope_parameters
    rope_scaling rope_theta rotary rotary_dim rotary_embedding_base rotary_value route_scale
    routed_scaling_factor router_aux_loss_coef router_bias router_dtype router_hidden_size
    router_ignore_padding_tokens router_jitter_noise router_scaling_factor router_z_loss_coef
    same_length sampling_rate scale_attention_softmax_in_fp32 scale_attn_by_inverse_layer_idx
    scale_attn_weights scale_decoder_outputs scale_depth scale_emb scale_embedding scoring_func
    second_expert_policy seed segment_types semantic_tokenizer_encoder_config sep_token_id
    sequence_kernel serialize_explicit_per_layer_config shape_embed_dim shape_vocab_size
    share_encoder_decoder_embeddings shared_expert_combination_strategy shared_expert_intermediate_size
    shared_expert_sink shared_experts_intermediate_size shared_intermediate_size short_conv_kernel_size
    sinusoidal_embeddings sliding_window sliding_window_pattern sliding_window_size slow_but_exact
    speech_encoder_attention_heads speech_encoder_chunk_size speech_encoder_dropout
    speech_encoder_hidden_act speech_encoder_intermediate_size speech_encoder_layerdrop
    speech_encoder_layers speech_encoder_left_chunk_num spkr_embed_dim split_ngram_parts src_vocab_size
    ssm_in_multiplier ssm_multipliers ssm_out_multiplier ssm_state_size stagger_local_blocks start_n_top
    state_size step_kernel sub_configs sub_configs_defaults summary_activation summary_first_dropout
    summary_last_dropout summary_proj_to_labels summary_type summary_use_proj suppress_tokens
    swa_head_dim swa_num_attention_heads swa_num_key_value_heads swiglu_alpha swiglu_limit
    t2u_bos_token_id t2u_decoder_attention_heads t2u_decoder_ffn_dim t2u_decoder_layers
    t2u_decoder_start_token_id t2u_encoder_attention_heads t2u_encoder_ffn_dim t2u_encoder_layers
    t2u_eos_token_id t2u_max_new_tokens t2u_max_position_embeddings t2u_pad_token_id
    t2u_variance_pred_dropout t2u_variance_predictor_embed_dim t2u_variance_predictor_hidden_dim
    t2u_variance_predictor_kernel_size t2u_vocab_size task_type_vocab_size text_config text_encoder
    tgt_vocab_size tie_word_embeddings time_step_floor time_step_init_scheme time_step_limit
    time_step_max time_step_min time_step_rank time_step_scale timestamp_token_id
    token_classification_bias top_k_experts topk_group topk_method torch_dtype transformers_version
    type_vocab_size unit_embed_dim unit_hifi_gan_vocab_size unk_index unpadded_vocab_size
    upsample_initial_channel upsample_kernel_sizes upsample_rates use_associative_scan
    use_attention_gate use_bias use_bidirectional_attention use_cache use_conv_bias use_double_wide_mlp
    use_expert_bias use_lang_emb use_learned_position_embeddings use_long_context use_mamba_kernels
    use_mambapy use_mem_eff_path use_mem_rope use_mems_eval use_mems_train use_ordered_embeddings
    use_parallel_residual use_post_norm use_prompt use_qk_norm use_qkv_bias use_return_dict
    use_sandwich_norm use_shared_attention_adapter use_sliding_window use_task_id use_weighted_layer_sum
    v_dim v_dim_factor v_head_dim var_pred_dropout variance_predictor_kernel_size video_token_id
    vision_config vision_end_token_id vision_soft_tokens_per_image vision_start_token_id vocab_size
    vocab_size_per_layer_input vocabulary_map vocoder_num_langs vocoder_num_spkrs vocoder_offset
    vq_config w_init_variance_scale weight_mode window_size word_embed_proj_dim word_timestamp_config
    z_loss_coefficient zero_expert_num
"""
)
"""Attributes of a configuration of any language model: `from_pretrained` replaces those that its own one has."""
