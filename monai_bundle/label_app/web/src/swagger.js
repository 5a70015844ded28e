SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", defaultModelsExpandDepth: -1, validatorUrl: null });
