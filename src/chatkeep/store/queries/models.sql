-- name: model_insert!
INSERT INTO models
    (organisation_id, id, display_name, description, provider, model_name, context_window, max_tokens_per_request,
     supports_streaming, supports_tools, supports_vision, supports_reasoning, credit_multiplier, input_price, output_price,
     model_tier, lifecycle_state, end_of_life_at, deprecation_notice, is_recommended, enabled, is_system_model, parent_model_id,
     profile_id, metadata, system_prompt_id, system_prompt, created_at, updated_at)
VALUES
    (:organisation_id, :id, :display_name, :description, :provider, :model_name, :context_window, :max_tokens_per_request,
     :supports_streaming, :supports_tools, :supports_vision, :supports_reasoning, :credit_multiplier, :input_price,
     :output_price, :model_tier, :lifecycle_state, :end_of_life_at, :deprecation_notice, :is_recommended, :enabled, :is_system_model,
     :parent_model_id, :profile_id, :metadata, :system_prompt_id, :system_prompt, :created_at, :updated_at);

-- name: model_update!
UPDATE models SET
    display_name = :display_name, description = :description, provider = :provider, model_name = :model_name,
    context_window = :context_window, max_tokens_per_request = :max_tokens_per_request,
    supports_streaming = :supports_streaming, supports_tools = :supports_tools, supports_vision = :supports_vision,
    supports_reasoning = :supports_reasoning, credit_multiplier = :credit_multiplier, input_price = :input_price,
    output_price = :output_price, model_tier = :model_tier,
    lifecycle_state = :lifecycle_state, end_of_life_at = :end_of_life_at, deprecation_notice = :deprecation_notice,
    is_recommended = :is_recommended, enabled = :enabled, parent_model_id = :parent_model_id, profile_id = :profile_id,
    metadata = :metadata, system_prompt_id = :system_prompt_id, system_prompt = :system_prompt, updated_at = :updated_at
WHERE organisation_id = :organisation_id AND id = :id;

-- name: model_delete!
DELETE FROM models WHERE organisation_id = :organisation_id AND id = :id AND is_system_model = 0;

-- name: model_get^
SELECT organisation_id, id, display_name, description, provider, model_name, context_window, max_tokens_per_request,
       supports_streaming, supports_tools, supports_vision, supports_reasoning, credit_multiplier, input_price,
       output_price, model_tier, lifecycle_state, end_of_life_at, deprecation_notice, is_recommended, enabled, is_system_model, parent_model_id,
       profile_id, metadata, system_prompt_id, system_prompt, created_at, updated_at
FROM models WHERE organisation_id = :organisation_id AND id = :id;

-- name: model_get_by_provider^
SELECT organisation_id, id, display_name, description, provider, model_name, context_window, max_tokens_per_request,
       supports_streaming, supports_tools, supports_vision, supports_reasoning, credit_multiplier, input_price,
       output_price, model_tier, lifecycle_state, end_of_life_at, deprecation_notice, is_recommended, enabled, is_system_model, parent_model_id,
       profile_id, metadata, system_prompt_id, system_prompt, created_at, updated_at
FROM models
WHERE organisation_id = :organisation_id AND provider = :provider AND model_name = :model_name AND is_system_model = 1;

-- name: models_all
SELECT organisation_id, id, display_name, description, provider, model_name, context_window, max_tokens_per_request,
       supports_streaming, supports_tools, supports_vision, supports_reasoning, credit_multiplier, input_price,
       output_price, model_tier, lifecycle_state, end_of_life_at, deprecation_notice, is_recommended, enabled, is_system_model, parent_model_id,
       profile_id, metadata, system_prompt_id, system_prompt, created_at, updated_at
FROM models WHERE organisation_id = :organisation_id ORDER BY is_recommended DESC, created_at, id;

-- name: models_page
SELECT organisation_id, id, display_name, description, provider, model_name, context_window, max_tokens_per_request,
       supports_streaming, supports_tools, supports_vision, supports_reasoning, credit_multiplier, input_price,
       output_price, model_tier, lifecycle_state, end_of_life_at, deprecation_notice, is_recommended, enabled, is_system_model, parent_model_id,
       profile_id, metadata, system_prompt_id, system_prompt, created_at, updated_at
FROM models
WHERE organisation_id = :organisation_id AND id > :after_id
ORDER BY id LIMIT :row_limit;

-- name: models_stamp^
-- Moves whenever a model is added, changed or removed: what else a rendered chat may depend on.
SELECT count(*), coalesce(max(updated_at), 0) FROM models WHERE organisation_id = :organisation_id;
